package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// The longest datagrams: a total length of 65,535 bytes less the headers in
// IPv4, a payload length of 65,535 bytes in IPv6.
const (
	maxDatagram4 = 65535 - headers4
	maxDatagram6 = 65535 - 8
)

// defaultBuffer is how many bytes wait in a UDP socket, as SetReadBuffer
// counts them.
const defaultBuffer = 4 << 20

// ListenPacket opens a UDP socket for "udp", "udp4" or "udp6" on an address and
// port, as [net.ListenPacket] does: no address means all, those of later Moves
// included, and port 0 means any free one. ctx is not needed.
//
// The concrete type also has ReadFromUDPAddrPort, WriteToUDPAddrPort and
// SetReadBuffer of [net.UDPConn]. IPv4 addresses that it returns are never
// mapped into IPv6. Sending never waits; ENETUNREACH means that the host has no
// address of the family, and whatever happens later is silence, closed ports
// included. Datagrams that do not fit into the read buffer, 4 MiB by default,
// are dropped.
func (h *Host) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	where, err := h.net.bindingFor(network, "udp", addr)
	if err != nil {
		return nil, opError("listen", "bind", network, nil, nil, err)
	}
	c := &udpConn{host: h, where: where}
	c.inbox.init()
	h.net.lock()
	defer h.net.unlock()
	if err := bind(h, h.udp, &c.where); err != nil {
		return nil, opError("listen", "bind", network, nil, net.UDPAddrFromAddrPort(where.shown()), err)
	}
	h.udp[c.where.port] = append(h.udp[c.where.port], c)
	return c, nil
}

// A udpConn is a UDP socket.
type udpConn struct {
	host  *Host
	where binding
	inbox inbox
}

func (c *udpConn) bound() binding { return c.where }

// LocalAddr returns where the socket is bound.
func (c *udpConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.where.shown()) }

// ReadFrom reads one datagram; what does not fit into b of it is lost.
func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without allocating an address.
func (c *udpConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	p, err := c.inbox.pop()
	if err != nil {
		return 0, netip.AddrPort{}, c.opError("read", "recvfrom", nil, err)
	}
	n, from := copy(b, p.data), p.src
	p.release()
	return n, from, nil
}

// WriteTo sends b as one datagram to addr, a *net.UDPAddr.
func (c *udpConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok || to == nil { // which no call has refused
		return 0, &net.OpError{Op: "write", Net: c.where.network, Source: c.LocalAddr(), Addr: addr, Err: syscall.EINVAL}
	}
	if err := c.send(b, to.AddrPort()); err != nil {
		return 0, c.opError("write", "sendto", addr, err)
	}
	return len(b), nil
}

// WriteToUDPAddrPort is WriteTo without a net.Addr.
func (c *udpConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if err := c.send(b, to); err != nil {
		return 0, c.opError("write", "sendto", net.UDPAddrFromAddrPort(to), err)
	}
	return len(b), nil
}

func (c *udpConn) send(b []byte, to netip.AddrPort) error {
	if err := c.inbox.writable(); err != nil {
		return err
	}
	to, err := c.where.destination(to)
	if err != nil {
		return err
	}
	if len(b) > maxDatagram6 || len(b) > maxDatagram4 && to.Addr().Is4() {
		return syscall.EMSGSIZE
	}
	n := c.host.net
	n.lock()
	defer n.unlock()
	src, err := c.host.source(c.where.addr, to.Addr())
	if err != nil {
		return err
	}
	if n.closed {
		return errNetworkClosed
	}
	c.host.send(n.newPacket(netip.AddrPortFrom(src, c.where.port), to, b))
	return nil
}

// Close closes the socket; reads that wait fail with net.ErrClosed.
func (c *udpConn) Close() error {
	c.host.net.lock()
	c.host.udp.remove(c)
	c.host.net.unlock()
	if !c.inbox.close() {
		return c.opError("close", "close", nil, net.ErrClosed)
	}
	return nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *udpConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline says until when reads wait.
func (c *udpConn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.inbox.read, t) }

// SetWriteDeadline says until when datagrams can be sent.
func (c *udpConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.inbox.write, t) }

func (c *udpConn) setDeadline(d *deadline, t time.Time) error {
	if !c.inbox.setDeadline(d, t) {
		return c.opError("set", "setsockopt", nil, net.ErrClosed)
	}
	return nil
}

// SetReadBuffer says how many bytes may wait in the socket, where each datagram
// counts for its length and 64.
func (c *udpConn) SetReadBuffer(bytes int) error {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	c.inbox.limit = bytes
	return nil
}

func (c *udpConn) opError(op, call string, addr net.Addr, err error) error {
	return opError(op, call, c.where.network, c.LocalAddr(), addr, err)
}

// An inbox is what has arrived at a socket and was not read yet.
type inbox struct {
	mu      sync.Mutex
	arrived sync.Cond // or closed, or a deadline has passed
	packets fifo[*packet]
	bytes   int // of packets, with overhead
	limit   int
	closed  bool

	read, write deadline
}

const overhead = 64 // bytes of a packet besides its data

func (i *inbox) init() {
	i.arrived.L = &i.mu
	i.limit = defaultBuffer
}

// push takes a packet, if there is room. Its delivery is reported here, because
// a reader may have done with it at once.
func (i *inbox) push(p *packet) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.bytes+len(p.data)+overhead > i.limit {
		return false
	}
	p.report(Delivered)
	i.packets.push(p)
	i.bytes += len(p.data) + overhead
	i.arrived.Signal()
	return true
}

// pop waits for a packet.
func (i *inbox) pop() (*packet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		switch {
		case i.closed:
			return nil, net.ErrClosed
		case i.read.passed:
			return nil, os.ErrDeadlineExceeded
		case i.packets.len() > 0:
			p := i.packets.pop()
			i.bytes -= len(p.data) + overhead
			return p, nil
		}
		i.arrived.Wait()
	}
}

// writable returns why the socket cannot send.
func (i *inbox) writable() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		return net.ErrClosed
	case i.write.passed:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// setDeadline moves one of the deadlines of an inbox that is open.
func (i *inbox) setDeadline(d *deadline, t time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	d.set(t, &i.arrived)
	return true
}

// close says whether the inbox was open.
func (i *inbox) close() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.closed = true
	i.read.stop()
	i.write.stop()
	for i.packets.len() > 0 {
		i.packets.pop().release()
	}
	i.arrived.Broadcast()
	return true
}
