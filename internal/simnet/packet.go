package simnet

import (
	"net/netip"
	"time"
)

// A transport is the protocol of a packet. Each has ports of its own.
type transport uint8

const (
	udp transport = iota
	tcp
)

// Sizes of headers, for the MTU and the rate of links.
const (
	headers4 = 20 + 8 // IPv4 and UDP
	headers6 = 40 + 8 // IPv6 and UDP
)

// A packet is a datagram, or the request of a dial, on its way.
type packet struct {
	net       *Network
	transport transport
	from      netip.AddrPort // src as the sender knows it
	src, dst  netip.AddrPort // as the NATs passed so far have made them
	data      []byte         // ours
	wire      *wire          // that it is on

	dial *dial   // of the request of a dial
	path []*wire // that the request has come over
}

// newPacket returns a datagram with a copy of data.
func (n *Network) newPacket(src, dst netip.AddrPort, data []byte) *packet {
	p := n.packets.Get().(*packet)
	*p = packet{net: n, transport: udp, from: src, src: src, dst: dst, data: append(p.data[:0], data...)}
	return p
}

// release gives a packet back. It may be called without the lock.
func (p *packet) release() {
	if p.dial == nil {
		p.net.packets.Put(p)
	}
}

// size is what the packet takes of a link.
func (p *packet) size() int {
	if p.dst.Addr().Is4() {
		return headers4 + len(p.data)
	}
	return headers6 + len(p.data)
}

// fire is the packet at the end of its wire.
func (p *packet) fire() {
	if p.wire.link.cut {
		p.wire.lose(p, CutOff)
		return
	}
	p.wire.to.receive(p, p.wire)
}

// drop ends a packet that arrives nowhere.
func (p *packet) drop(fate Fate) {
	p.report(fate)
	p.release()
}

// report tells the tap what became of a datagram.
func (p *packet) report(fate Fate) {
	n := p.net
	if n.tap != nil && p.transport == udp {
		n.tap(Datagram{n.start.Add(n.now), p.from, p.src, p.dst, p.data, fate})
	}
}

// A Datagram is a UDP packet at the end of its way.
type Datagram struct {
	Time     time.Time
	From     netip.AddrPort // the sender's own address
	Src, Dst netip.AddrPort // as they were at the end, where NATs may have changed them
	Data     []byte         // valid during the call only
	Fate     Fate
}

// A Fate is what became of a datagram.
type Fate int

const (
	Delivered  Fate = iota // a socket has it
	Lost                   // by chance, on a link with loss
	Congested              // the queue before a link with a rate was full
	CutOff                 // on a link that is cut
	TooBig                 // for the MTU of a link
	Blocked                // by a NAT or a firewall
	Unroutable             // nobody has its address
	Unheard                // no socket on its port
	Overflowed             // the socket's buffer was full
)

// String returns the fate in a word.
func (f Fate) String() string {
	names := [...]string{"delivered", "lost", "congested", "cut off", "too big", "blocked", "unroutable", "unheard", "overflowed"}
	if f < 0 || int(f) >= len(names) {
		return "unknown"
	}
	return names[f]
}

// Tap makes f see every datagram when its way ends; nil ends that. f is called
// with the network locked: it must be quick and must not call it.
func (n *Network) Tap(f func(Datagram)) {
	n.lock()
	defer n.unlock()
	n.tap = f
}
