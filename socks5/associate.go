package socks5

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// maxAsking bounds the targets of an association about which Allow and Resolve
// are asked at the same time.
const maxAsking = 32

// associate serves a UDP ASSOCIATE request.
func (c *session) associate(ctx context.Context) error {
	near, err := listenNear(c.conn.LocalAddr())
	if err != nil {
		return c.refuse(fmt.Errorf("opening a UDP port for the client: %w", err))
	}
	defer near.Close()
	far, err := c.listenFar(ctx)
	if err != nil {
		return c.refuse(fmt.Errorf("opening a UDP port for the targets: %w", err))
	}
	defer far.Close()
	if err := c.reply(near.LocalAddr()); err != nil {
		return err
	}
	a := &association{
		srv:    c.srv,
		near:   near,
		far:    packetsOf(far),
		req:    c.req,
		client: netip.AddrPortFrom(hostOf(c.req.Client), c.clientPort),
		moved:  time.Now(),
	}
	err = a.run(ctx, c.conn)
	c.sent, c.received = a.sent, a.received
	return err
}

// listenFar opens the port from which targets are sent to.
func (c *session) listenFar(ctx context.Context) (net.PacketConn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.srv.dialTimeout())
	defer cancel()
	return c.srv.ListenPacket(ctx, "udp", ":0")
}

// listenNear opens the port to which the client sends: on the address of this
// host that the client's connection came to.
func listenNear(local net.Addr) (*net.UDPConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(hostOf(local), 0)))
}

// hostOf returns the IP address of one side of the client's connection. When
// it is on no network, client and server are on this machine.
func hostOf(a net.Addr) netip.Addr {
	if ip := addrPort(a).Addr(); ip.IsValid() {
		return ip
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// An association carries datagrams between one client and its targets, for as
// long as the client's TCP connection lives.
type association struct {
	srv  *Server
	near packets // the client sends here
	far  packets // targets are sent to, and reply, here
	req  Request

	working sync.WaitGroup // goroutines

	mu       sync.Mutex     // guards what is below
	client   netip.AddrPort // port 0: that of the first datagram
	flows    flows
	asking   int       // goroutines that ask about a target
	moved    time.Time // when a datagram passed last
	sent     int64
	received int64
}

// run returns when the association has ended and nothing is left of it, with
// nil when the client ended it.
func (a *association) run(ctx context.Context, control net.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.working.Go(func() { cancel(a.fromClient(ctx)) })
	a.working.Go(func() { cancel(a.fromTargets()) })
	a.working.Go(func() { cancel(untilClosed(control)) })
	a.awaitEnd(ctx, cancel)
	control.Close()
	a.near.Close()
	a.far.Close()
	a.working.Wait()
	if err := context.Cause(ctx); err != errClientGone {
		return err
	}
	return nil
}

// untilClosed waits for the end of the client's TCP connection, over which
// nothing more is said.
func untilClosed(control net.Conn) error {
	if _, err := io.Copy(io.Discard, control); err != nil {
		return fmt.Errorf("the client's connection: %w", err)
	}
	return errClientGone
}

// awaitEnd waits for the end of ctx, and ends it when the association is idle.
func (a *association) awaitEnd(ctx context.Context, cancel context.CancelCauseFunc) {
	idle := a.srv.IdleTimeout
	if idle <= 0 {
		<-ctx.Done()
		return
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		a.mu.Lock()
		left := idle - time.Since(a.moved)
		a.mu.Unlock()
		if left <= 0 {
			cancel(fmt.Errorf("no datagrams: %w", os.ErrDeadlineExceeded))
			return
		}
		timer.Reset(left)
	}
}

// fromClient takes the client's datagrams.
func (a *association) fromClient(ctx context.Context) error {
	buf := make([]byte, maxDatagram+1)
	for {
		n, from, err := a.near.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("reading from the client: %w", err)
		}
		target, data, err := parseDatagram(buf[:n])
		if err != nil || n > maxDatagram {
			continue
		}
		if to, ok := a.outbound(ctx, from, target, data); ok {
			a.send(data, to)
		}
	}
}

// outbound says where a datagram of the client is to be sent now, if anywhere.
func (a *association) outbound(ctx context.Context, from netip.AddrPort, target, data []byte) (netip.AddrPort, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.isClient(from) {
		return netip.AddrPort{}, false
	}
	now := time.Now()
	fl := a.flows.use(target, now)
	if fl.state == unasked {
		a.ask(ctx, fl, target)
	}
	switch fl.state {
	case asking:
		a.flows.hold(fl, data)
		return netip.AddrPort{}, false
	case open:
		a.note(fl.to, len(data), now)
		return fl.to, true
	}
	return netip.AddrPort{}, false
}

// isClient accepts datagrams only from the host that the TCP connection comes
// from, and from one port there. a.mu is held.
func (a *association) isClient(from netip.AddrPort) bool {
	if from.Addr().Unmap().WithZone("") != a.client.Addr().WithZone("") {
		return false
	}
	if a.client.Port() == 0 {
		a.client = from
	}
	return from.Port() == a.client.Port()
}

// note keeps account of a datagram that is sent. a.mu is held.
func (a *association) note(to netip.AddrPort, size int, now time.Time) {
	a.flows.sent(to, now)
	a.moved = now
	a.sent += int64(size)
}

// send loses what cannot be sent, as UDP does: what is too long, say, or goes
// where there is no way to.
func (a *association) send(data []byte, to netip.AddrPort) {
	a.far.WriteToUDPAddrPort(data, to)
}

// ask finds out about a new target: at once when there is nobody to ask, and
// else in a goroutine, while other targets' datagrams go on. a.mu is held.
func (a *association) ask(ctx context.Context, fl *flow, target []byte) {
	dst, err := parseAddress(target)
	if err != nil || dst.port == 0 || a.asking == maxAsking {
		return
	}
	if dst.ip.IsValid() && a.srv.Allow == nil {
		fl.state, fl.to = open, netip.AddrPortFrom(dst.ip, dst.port)
		return
	}
	fl.state = asking
	a.asking++
	a.working.Go(func() {
		to, err := a.find(ctx, dst)
		if err != nil {
			a.srv.log().Debug("SOCKS5 datagrams dropped", "client", a.req.Client, "target", dst.host(), "port", dst.port, "err", err)
		}
		a.answer(fl.target, to)
	})
}

// find asks Allow and Resolve.
func (a *association) find(ctx context.Context, dst address) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, a.srv.dialTimeout())
	defer cancel()
	r := a.req
	r.Host, r.Port = dst.host(), dst.port
	if err := a.srv.allow(ctx, r); err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := a.srv.lookup(ctx, r.Host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0], dst.port), nil
}

// answer sends what was held for a target, or drops it when to is invalid.
func (a *association) answer(target string, to netip.AddrPort) {
	a.mu.Lock()
	now := time.Now()
	held := a.flows.settle(target, to, now)
	if to.IsValid() {
		for _, data := range held {
			a.note(to, len(data), now)
		}
	}
	a.asking--
	a.mu.Unlock()
	if !to.IsValid() {
		return
	}
	for _, data := range held {
		a.send(data, to)
	}
}

// fromTargets takes the replies. They are read behind the room for the longest
// header, so that they need not be moved.
func (a *association) fromTargets() error {
	buf := make([]byte, maxHeader+maxDatagram+1)
	for {
		n, from, err := a.far.ReadFromUDPAddrPort(buf[maxHeader:])
		if err != nil {
			return fmt.Errorf("reading from targets: %w", err)
		}
		if n > maxDatagram {
			continue // cut off
		}
		begin := maxHeader - headerSize(from)
		header := appendHeader(buf[begin:begin], from)
		if client, ok := a.inbound(header, n); ok {
			// What is too long with its header is lost, as UDP loses it.
			a.near.WriteToUDPAddrPort(buf[begin:maxHeader+n], client)
		}
	}
}

// inbound says to where a reply is to be passed on, if anywhere.
func (a *association) inbound(header []byte, size int) (client netip.AddrPort, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !a.flows.expects(header[3:], now) {
		return netip.AddrPort{}, false
	}
	a.moved = now
	a.received += int64(size)
	return a.client, true
}
