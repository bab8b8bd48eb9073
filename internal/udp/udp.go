// Package udp reads and writes a UDP socket in batches.
//
// On Linux a batch is one system call (recvmmsg, sendmmsg), and a message of
// it may be many datagrams of the same peer: the kernel cuts what is written
// (UDP_SEGMENT, GSO) and joins what it received (UDP_GRO). All datagrams of
// such a message have one size but the last, which may be smaller:
//
//	+-----------+-----------+-----------+-------+
//	| size      | size      | size      | 1…size|   size in a control message
//	+-----------+-----------+-----------+-------+
//
// Callers see datagrams only. What the kernel can do is found out by asking
// it. Everywhere else, and with sockets that are not the host's, datagrams go
// one by one.
package udp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a UDP socket. One goroutine at a time may read, any number may write.
type Conn struct {
	pc   net.PacketConn
	path path

	whole  sync.Mutex   // held by WriteWhole
	wholes atomic.Int64 // its beginnings and ends
}

// path is how datagrams get into the socket and out of it.
type path interface {
	read(packets [][]byte, sizes []int, from []netip.AddrPort) (n int, err error)
	write(packets [][]byte, to netip.AddrPort) error
	batchSize() int
}

// New returns a Conn that reads and writes pc, and from now on owns it. It
// asks the host for larger socket buffers, and takes what it gets.
func New(pc net.PacketConn) *Conn {
	enlargeBuffers(pc)
	if b := newBatched(pc); b != nil {
		return &Conn{pc: pc, path: b}
	}
	return NewPlain(pc)
}

// NewPlain returns a Conn like [New], but without batches and with the buffers
// that the socket has: for one of many sockets that carry little.
func NewPlain(pc net.PacketConn) *Conn { return &Conn{pc: pc, path: newPlain(pc)} }

// BatchSize is how many datagrams a call of [Conn.ReadBatch] should have room
// for, and of [Conn.WriteBatch] should have at most, to make good use of it.
func (c *Conn) BatchSize() int { return c.path.batchSize() }

// ReadBatch waits for datagrams, and fills as many of packets as there are. Of
// datagram i, sizes has the length and from the sender, never as an
// IPv4-mapped address. The three must be equally long and packets not empty; a
// datagram that is longer than its packet is cut short, and none is with
// packets of 64 KiB. What finds no place is returned by the next call.
//
// Errors of earlier datagrams, which the network reports to the socket, are
// passed over. After [Conn.Close] the error is [net.ErrClosed], after a
// deadline [os.ErrDeadlineExceeded].
func (c *Conn) ReadBatch(packets [][]byte, sizes []int, from []netip.AddrPort) (n int, err error) {
	return c.path.read(packets, sizes, from)
}

// WriteBatch sends packets to one address, in order, which costs least when
// they are equally long. A packet that is too large for the network does not
// keep the others from being sent; any other error does. The first is returned.
// Seldom, while [Conn.WriteWhole] is at work, some are sent twice.
func (c *Conn) WriteBatch(packets [][]byte, to netip.AddrPort) error {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	before := c.wholes.Load()
	err := c.path.write(packets, to)
	if TooLarge(err) && (before%2 == 1 || c.wholes.Load() != before) {
		// Perhaps only because of WriteWhole.
		c.whole.Lock()
		defer c.whole.Unlock()
		err = c.path.write(packets, to)
	}
	return err
}

// LocalAddr returns the address of the socket, or the zero AddrPort when it
// has none of IP.
func (c *Conn) LocalAddr() netip.AddrPort {
	addr, _ := addrPort(c.pc.LocalAddr())
	return addr
}

// SetReadDeadline makes [Conn.ReadBatch] fail from time t on; the zero time is
// never. A time in the past wakes a reader and leaves the socket open.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.pc.SetReadDeadline(t) }

// Close closes the socket. Calls that are waiting return.
func (c *Conn) Close() error { return c.pc.Close() }

// addrPort reads an address that a PacketConn returned.
func addrPort(addr net.Addr) (_ netip.AddrPort, ok bool) {
	switch a := addr.(type) {
	case nil:
		return netip.AddrPort{}, false
	case *net.UDPAddr:
		return unmap(a.AddrPort()), true
	default:
		parsed, err := netip.ParseAddrPort(a.String())
		return unmap(parsed), err == nil
	}
}

func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// firstError keeps the error that came first.
func firstError(first, next error) error {
	if first != nil {
		return first
	}
	return next
}
