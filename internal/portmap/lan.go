package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// target is what a mapping is for: a port of ours, behind a gateway.
type target struct {
	gateway, self netip.Addr
	port          uint16
}

// complete reports whether there can be a mapping. PCP can open firewalls of
// IPv6 too, but what needs a mapping is IPv4.
func (t target) complete() bool { return t.gateway.Is4() && t.self.Is4() && t.port != 0 }

// lan is how we talk to the gateway of a target.
type lan struct {
	target
	nonce  pcpNonce
	listen func(ctx context.Context, network, addr string) (net.PacketConn, error)
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

const (
	// pcpPort is that of NAT-PMP as well.
	pcpPort = 5351

	// tries of a request, the first of which waits for an answer as long as
	// firstWait, each other twice as long as the one before. RFC 6886 begins
	// with as much, and goes on for a minute.
	tries     = 3
	firstWait = 250 * time.Millisecond

	// maxReply bounds what gateways send in a datagram (RFC 6887 section 7:
	// 1100 bytes). SSDP has no bound, and less.
	maxReply = 2048
)

var errSilent = errors.New("portmap: the gateway does not answer")

// open opens a socket for one exchange, which ctx's end closes. The caller
// must call done.
func (l *lan) open(ctx context.Context) (pc net.PacketConn, done func(), err error) {
	pc, err = l.listen(ctx, "udp4", netip.AddrPortFrom(l.self, 0).String())
	if err != nil {
		return nil, nil, fmt.Errorf("portmap: opening a socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { pc.Close() })
	return pc, func() { stop(); pc.Close() }, nil
}

// ask sends a request of PCP or NAT-PMP, and again, until the gateway has
// given an answer that accept takes.
func (l *lan) ask(ctx context.Context, request []byte, accept func(reply []byte) bool) error {
	pc, done, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	to := netip.AddrPortFrom(l.gateway, pcpPort)
	wait := firstWait
	for range tries {
		if _, err = pc.WriteTo(request, net.UDPAddrFromAddrPort(to)); err == nil {
			var answered bool
			answered, err = receive(pc, wait, func(from netip.AddrPort, b []byte) bool {
				return from == to && accept(b)
			})
			if answered {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("portmap: asking the gateway: %w", err)
		}
		wait *= 2
	}
	return errSilent
}

// maxFailures is how many errors we take while we wait for datagrams. Some
// systems report that an earlier one was refused, or that one which came is too
// large, both of which says nothing about the next.
const maxFailures = 16

// receive hands datagrams to take until it returns true, or until the time is
// over, which is no error.
func receive(pc net.PacketConn, wait time.Duration, take func(from netip.AddrPort, b []byte) bool) (taken bool, err error) {
	if err := pc.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false, err
	}
	b := make([]byte, maxReply)
	for failures := 0; ; {
		n, addr, err := pc.ReadFrom(b)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return false, nil
		}
		if err != nil {
			if failures++; failures > maxFailures || errors.Is(err, net.ErrClosed) {
				return false, err
			}
			continue
		}
		if from, ok := addr.(*net.UDPAddr); ok && take(unmapped(from), b[:n]) {
			return true, nil
		}
	}
}

func unmapped(a *net.UDPAddr) netip.AddrPort {
	addr := a.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
