package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/hostping"
	"github.com/meshnet-go/meshnet/internal/netstack"
	"github.com/meshnet-go/meshnet/internal/splice"
)

// A Router makes a node with [Server.AdvertiseRoutes] or
// [Server.AdvertiseExitNode] a subnet router or an exit node, without root: it
// ends the TCP connections and UDP flows of peers in the node, and makes
// connections of its own to where they go, from the host's address. The zero
// Router uses the host's network. What the mesh's policy does not allow never
// gets to it, and nor does what is for the node's own addresses.
type Router struct {
	// DialContext connects to where a peer wants to: network is "tcp" or "udp",
	// address an IP address and a port. Nil is [net.Dialer]'s. ctx ends 20
	// seconds later, or when the Server is closed.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Ping asks an address for an echo, and returns nil when it has come; the
	// peer's own request is answered then. Nil is the host's unprivileged
	// ICMP, which Linux has where net.ipv4.ping_group_range allows it; elsewhere
	// pings have no answer. ctx ends as with DialContext.
	Ping func(ctx context.Context, ip netip.Addr) error
}

const (
	// routerPatience bounds how long a peer waits for a connection, or an echo.
	routerPatience = 20 * time.Second
	// A flow of UDP ends when there has been no datagram for so long: the least
	// that RFC 4787 (REQ-5) lets a NAT wait. Questions to name servers, of which
	// there are many, have one answer.
	udpIdle = 2 * time.Minute
	dnsIdle = 10 * time.Second
)

// serve takes a stray to where it goes, and returns when that is over. What it
// does not accept is for the caller to reject.
func (r *Router) serve(ctx context.Context, s *netstack.Stray) error {
	if s.Network == netstack.NetworkPing {
		return r.servePing(ctx, s)
	}
	far, err := r.dial(ctx, s.Network, s.Dst.String())
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	near, err := s.Accept()
	if err != nil {
		far.Close()
		return err
	}
	if s.Network == netstack.NetworkUDP {
		return exchange(ctx, near, far, idleOf(s.Dst))
	}
	_, _, err = splice.Conns(ctx, near, far, 0)
	return err
}

func (r *Router) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, routerPatience)
	defer cancel()
	if r.DialContext != nil {
		return r.DialContext(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func (r *Router) servePing(ctx context.Context, s *netstack.Stray) error {
	ctx, cancel := context.WithTimeout(ctx, routerPatience)
	defer cancel()
	ping := r.Ping
	if ping == nil {
		ping = hostping.Ping
	}
	if err := ping(ctx, s.Dst.Addr()); err != nil {
		return fmt.Errorf("pinging: %w", err)
	}
	_, err := s.Accept()
	return err
}

func idleOf(dst netip.AddrPort) time.Duration {
	if dst.Port() == 53 {
		return dnsIdle
	}
	return udpIdle
}

// maxDatagram is the longest that UDP has.
const maxDatagram = 65535

// datagramBuffers are used again by all flows of the process.
var datagramBuffers = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// exchange carries datagrams between two connections until neither has had one
// for as long as idle, one has failed, or ctx ends. It closes both.
func exchange(ctx context.Context, a, b net.Conn, idle time.Duration) error {
	end := sync.OnceFunc(func() {
		a.Close()
		b.Close()
	})
	defer end()
	defer context.AfterFunc(ctx, end)()
	f := &datagramFlow{idle: idle, start: time.Now()}
	ended := make(chan error, 2)
	go func() { ended <- f.carry(b, a) }()
	go func() { ended <- f.carry(a, b) }()
	err := <-ended
	end()
	<-ended // because of that
	return err
}

// A datagramFlow is an exchange under way.
type datagramFlow struct {
	idle  time.Duration
	start time.Time
	last  atomic.Int64 // when the last datagram came, as a time.Duration after start
}

// carry takes datagrams from one connection to the other. The error is nil
// when the flow has been idle.
func (f *datagramFlow) carry(to, from net.Conn) error {
	buf := datagramBuffers.Get().(*[maxDatagram]byte)
	defer datagramBuffers.Put(buf)
	for {
		last := time.Duration(f.last.Load())
		from.SetReadDeadline(f.start.Add(last + f.idle))
		n, err := from.Read(buf[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Duration(f.last.Load()) > last:
			continue // there was something the other way
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		f.last.Store(int64(time.Since(f.start)))
		if _, err := to.Write(buf[:n]); err != nil && errors.Is(err, net.ErrClosed) {
			return err
		} // others are of one datagram, which is lost
	}
}
