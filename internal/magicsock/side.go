package magicsock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"github.com/meshnet-go/meshnet/internal/udp"
)

// A sideSocket is a UDP socket beside our ordinary ones, for one peer: our hard
// NAT maps it to a port that the peer may guess. Of hundreds that are opened in
// a search one can become the way to the peer, which is then peer.side.
//
//	socket ──► its goroutine ──► the receiver of relays ──► WireGuard
//	                └──────────► loop, if disco
type sideSocket struct {
	pc     net.PacketConn
	widen  chan *udp.Conn // to the goroutine: read by this from now on
	closed chan struct{}

	// Owned by the loop.
	conn  *udp.Conn      // sends
	wide  bool           // it has been made one for data
	peer  netip.AddrPort // where it reaches the peer; zero: not yet
	heard time.Time      // the last disco message that came by it
}

// Messages that come before a socket has become a way are no larger.
const searchRead = 2 << 10

// sideLinger is how long a side socket that we have no more use for stays open
// after the peer's last ping. The peer, which sees to its own paths, may send by
// it for as long as it trusts it, which is less.
const sideLinger = 10 * time.Second

// openSide makes a socket one of ours, and has it read.
func (c *Conn) openSide(pc net.PacketConn) *sideSocket {
	s := &sideSocket{pc: pc, conn: udp.NewPlain(pc), widen: make(chan *udp.Conn, 1), closed: make(chan struct{})}
	plain := s.conn
	c.background.Go(func() { c.readSide(s, plain) })
	return s
}

func (s *sideSocket) close() {
	close(s.closed)
	s.pc.Close()
}

// forData returns the socket as one for data, with what makes that fast. It is
// some megabytes, so only a way that is proven gets it: a peer can make any
// number of sockets look like one.
func (s *sideSocket) forData() *udp.Conn {
	if !s.wide {
		s.wide = true
		s.conn = udp.New(s.pc)
		s.widen <- s.conn
		s.conn.SetReadDeadline(time.Unix(1, 0)) // the reader returns to find it
	}
	return s.conn
}

// readSide reads a side socket until it is closed.
func (c *Conn) readSide(s *sideSocket, u *udp.Conn) {
	in := newArrivals(1, searchRead)
	for {
		n, err := u.ReadBatch(in.packets, in.sizes, in.from)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			u = <-s.widen
			u.SetReadDeadline(time.Time{})
			in = newArrivals(min(u.BatchSize(), batch), maxMessage)
			continue
		}
		if err != nil {
			return
		}
		in.n = n
		if c.sort(in.packets[:n], in.sizes, in.from, in.eps, s) && !c.arrive(s, in) {
			return
		}
	}
}

// arrivals are packets that came by a side socket. Those for WireGuard have an
// endpoint and a size.
type arrivals struct {
	n       int
	packets [][]byte
	sizes   []int
	from    []netip.AddrPort
	eps     []conn.Endpoint
	taken   chan struct{} // gets one when the packets are
}

// maxMessage is how large WireGuard's messages can be here.
const maxMessage = device.MaxMessageSize

func newArrivals(n, size int) *arrivals {
	a := &arrivals{
		packets: make([][]byte, n),
		sizes:   make([]int, n),
		from:    make([]netip.AddrPort, n),
		eps:     make([]conn.Endpoint, n),
		taken:   make(chan struct{}, 1),
	}
	all := make([]byte, n*size)
	for i := range a.packets {
		a.packets[i] = all[i*size:][:size:size]
	}
	return a
}

// arrive has packets received by WireGuard, and reports whether to go on
// reading.
func (c *Conn) arrive(s *sideSocket, in *arrivals) bool {
	select {
	case c.sideways <- in:
		<-in.taken
		return true
	case <-s.closed:
	case <-c.ctx.Done():
	}
	return false
}

// takeAll hands arrivals to WireGuard.
func (in *arrivals) takeAll(to *received) {
	for i, packet := range in.packets[:in.n] {
		size := in.sizes[i]
		if size > 0 && to.n < len(to.packets) && size <= len(to.packets[to.n]) {
			to.sizes[to.n] = copy(to.packets[to.n], packet[:size])
			to.eps[to.n] = in.eps[i]
			to.n++
		}
	}
	in.taken <- struct{}{}
}

// cameBy makes a side socket the way to a peer, after a disco message of the
// peer came by it: what the socket was opened for. A way that works is kept.
func (c *Conn) cameBy(p *peer, packet discoPacket) {
	s := packet.by
	if s == nil || p.ways == nil || s != p.side && !p.search.has(s) {
		return
	}
	s.heard = time.Now()
	if works := p.side != nil && p.path.Route().Direct == p.side.peer; !works {
		p.side, s.peer = s, packet.addr
	}
}

// tidySide closes the side socket of a peer when neither side needs it.
func (c *Conn) tidySide(p *peer, now time.Time) {
	if at := p.sideEnd(); !at.IsZero() && !now.Before(at) {
		p.dropSide()
	}
}

// sideEnd returns when to close the side socket of a peer that has a better
// path, or none and is not in use: the NAT has forgotten the socket, too. It is
// zero while there is no such socket.
func (p *peer) sideEnd() time.Time {
	if p.side == nil || p.search.plan.Running() {
		return time.Time{}
	}
	direct := p.path.Route().Direct
	if direct == p.side.peer || !direct.IsValid() && p.path.Active() {
		return time.Time{}
	}
	return p.side.heard.Add(sideLinger)
}

func (p *peer) dropSide() {
	if p.side != nil && !p.search.has(p.side) {
		p.side.close()
	}
	p.side = nil
}

// closeSidesOf closes all side sockets for a peer.
func (c *Conn) closeSidesOf(p *peer) {
	if p.ways == nil {
		return
	}
	c.endSearch(p, time.Now(), false)
	p.dropSide()
}

func (c *Conn) closeSides() {
	for _, p := range *c.peers.Load() {
		c.closeSidesOf(p)
	}
}

// socketTo returns the socket by which to reach a peer at an address.
func (c *Conn) socketTo(p *peer, addr netip.AddrPort) *udp.Conn {
	if p.side != nil && p.side.peer == addr {
		return p.side.conn
	}
	return c.sockets.to(addr.Addr())
}
