package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	// requests is how often a dial asks: as Linux, it waits for 1 s, 2 s, and
	// so on, and gives up after two minutes.
	requests     = 7
	firstRequest = time.Second
)

// DialContext connects to an address, or a name that Network.Name has set, and
// a port, for "tcp", "tcp4" or "tcp6". It tries the addresses of a name one
// after the other. Errors are those of package net: ECONNREFUSED where nobody
// listens, ENETUNREACH when the host has no address of the family, ETIMEDOUT
// when no answer comes in two minutes, *net.DNSError for an unknown name.
//
// The connection also has CloseWrite and SetLinger of [net.TCPConn]. It lives
// on the links that it was dialed over: moves of a host or router on its way
// let it stand still, until it fails with ETIMEDOUT.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	want := binding{network: network, ip4: network != "tcp6", ip6: network != "tcp4"}
	targets, err := h.targets(want, addr)
	if err != nil {
		return nil, opError("dial", "connect", network, nil, nil, err)
	}
	for i, to := range targets {
		conn, tryErr := h.dialOne(ctx, want, to, len(targets)-i)
		if tryErr == nil {
			return conn, nil
		}
		if i == 0 {
			err = opError("dial", "connect", network, nil, net.TCPAddrFromAddrPort(to), tryErr)
		}
	}
	return nil, err
}

// targets returns the addresses to try, at least one.
func (h *Host) targets(want binding, addr string) (targets []netip.AddrPort, err error) {
	switch want.network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(want.network)
	}
	addrs, port, err := h.net.resolve(addr)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 { // ":80" is the host itself
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, ip := range addrs {
		if want.takes(ip) {
			targets = append(targets, netip.AddrPortFrom(ip, port))
		}
	}
	if len(targets) == 0 {
		return nil, want.mismatch(addrs[0])
	}
	return targets, nil
}

// dialOne tries one address for its share of the time that ctx leaves.
func (h *Host) dialOne(ctx context.Context, want binding, to netip.AddrPort, left int) (*stream, error) {
	to, err := want.destination(to)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := h.newDial(to)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-d.result:
		return r.conn, r.err
	case <-h.net.done:
		return nil, errNetworkClosed
	case <-ctx.Done():
		d.cancel()
		return nil, ctx.Err()
	}
}

// A dial is an attempt to connect. Guarded by Network.mu.
type dial struct {
	host     *Host
	src, dst netip.AddrPort
	asked    int  // requests sent
	answered bool // by the other host; the answer is on its way or here
	canceled bool
	result   chan dialed // of one element
}

type dialed struct {
	conn *stream
	err  error
}

func (h *Host) newDial(to netip.AddrPort) (*dial, error) {
	h.net.lock()
	defer h.net.unlock()
	if h.net.closed {
		return nil, errNetworkClosed
	}
	src, err := h.source(netip.Addr{}, to.Addr())
	if err != nil {
		return nil, err
	}
	from := binding{addr: src, ip4: src.Is4(), ip6: src.Is6()}
	if err := bind(h, h.tcp, &from); err != nil {
		return nil, err
	}
	d := &dial{host: h, src: netip.AddrPortFrom(src, from.port), dst: to, result: make(chan dialed, 1)}
	d.fire()
	return d, nil
}

// fire asks, and asks again later.
func (d *dial) fire() {
	n := d.host.net
	switch {
	case d.answered || d.canceled:
		return
	case d.asked == requests:
		d.answered = true
		d.result <- dialed{err: syscall.ETIMEDOUT}
		return
	}
	n.at(n.now+firstRequest<<d.asked, d)
	d.asked++
	if d.host.isOwn(d.src.Addr()) { // it may have moved
		d.host.send(&packet{net: n, transport: tcp, from: d.src, src: d.src, dst: d.dst, dial: d})
	}
}

// cancel gives up. A connection that is there already is reset.
func (d *dial) cancel() {
	n := d.host.net
	n.lock()
	defer n.unlock()
	d.canceled = true
	select {
	case r := <-d.result:
		if r.conn != nil {
			r.conn.in.circuit.fail(errReset)
		}
	default:
	}
}

// answer is a request at its destination.
func (h *Host) answer(p *packet) {
	d, n := p.dial, h.net
	if d.answered || d.canceled {
		return
	}
	a := &answer{dial: d}
	c := newCircuit(n, p.path)
	local, remote := net.TCPAddrFromAddrPort(p.dst), net.TCPAddrFromAddrPort(p.src)
	if l, ok := h.tcp.find(p.dst); !ok {
		a.err = syscall.ECONNREFUSED
	} else if !l.push(&stream{in: &c.there, out: &c.back, local: local, remote: remote}) {
		c.fail(errReset)
		return
	}
	d.answered = true
	a.conn = &stream{in: &c.back, out: &c.there, local: net.TCPAddrFromAddrPort(d.src), remote: net.TCPAddrFromAddrPort(d.dst)}
	if delay := c.back.cross(0); delay > 0 {
		n.at(n.now+delay, a)
	} else {
		a.fire()
	}
}

// An answer is on its way back to who dials.
type answer struct {
	*dial
	conn *stream
	err  error // the connection is refused
}

// fire is the answer at its end. It is repeated while a cut holds it up.
func (a *answer) fire() {
	c, n := a.conn.in.circuit, a.host.net
	switch {
	case a.canceled:
		c.fail(errReset)
	case c.cuts > 0 && !c.over:
		n.at(n.now+firstRequest, a)
	case a.err != nil:
		c.fail(a.err)
		a.result <- dialed{err: a.err}
	case c.over: // it stood still for too long
		a.result <- dialed{err: syscall.ETIMEDOUT}
	default:
		a.result <- dialed{conn: a.conn}
	}
}
