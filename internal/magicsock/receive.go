package magicsock

import (
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/internal/relay"
)

// received are the arguments of a ReceiveFunc, and how many packets are in
// them.
type received struct {
	packets [][]byte
	sizes   []int
	eps     []conn.Endpoint
	n       int
}

// receive waits for at least one packet for WireGuard, until the bind or the
// Conn is closed.
func (c *Conn) receive(closed <-chan struct{}, to *received) error {
	for to.n == 0 {
		select {
		case <-closed:
			return net.ErrClosed
		case <-c.ctx.Done():
			return net.ErrClosed
		case packet := <-c.released:
			c.take(packet, to)
		case in := <-c.sideways:
			in.takeAll(to)
		case packet, ok := <-c.relays.Recv():
			if !ok {
				return net.ErrClosed
			}
			c.take(packet, to)
		}
	}
	for to.n < len(to.packets) {
		select {
		case packet, ok := <-c.relays.Recv():
			if !ok {
				return nil // the next call says so
			}
			c.take(packet, to)
		default:
			return nil
		}
	}
	return nil
}

// take hands a packet to whom it concerns: nobody, the loop or WireGuard.
func (c *Conn) take(packet relay.Packet, to *received) {
	defer packet.Release()
	p := c.accept(packet)
	if p == nil || len(packet.Data) > len(to.packets[to.n]) {
		return
	}
	to.sizes[to.n] = copy(to.packets[to.n], packet.Data)
	to.eps[to.n] = p
	to.n++
}

// accept returns the peer that a packet is from, if the packet is WireGuard's.
// A relay says truly who sent a packet, if it is honest; if it is not,
// WireGuard and disco find out.
func (c *Conn) accept(packet relay.Packet) *peer {
	p := (*c.peers.Load())[packet.Src]
	if isInitiation(packet.Data) && (p == nil || !p.ready.Load()) {
		c.keepEarly(packet)
		return nil
	}
	if p == nil {
		return nil
	}
	if packet.Region != 0 { // it is, of packets that came directly and were held
		c.hear(p, packet.Region)
	}
	if disco.Looks(packet.Data) {
		c.deliver(p, packet)
		return nil
	}
	return c.admit(p, origin{region: packet.Region}, packet.Data)
}

// admit returns p if WireGuard is to get a packet of p now.
func (c *Conn) admit(p *peer, from origin, packet []byte) *peer {
	switch verdict, ours := p.handshakes.receive(packet, from); verdict {
	case take:
		if isInitiation(packet) {
			c.noteInitiation(p, from)
		}
		return p
	case cross:
		c.keepCrossed(p, ours, from.region, packet)
	}
	return nil
}

// initiation tells the loop where a peer has begun a handshake from.
type initiation struct {
	peer *peer
	from origin
}

// noteInitiation tells the loop, if it has time, that a peer begins a handshake
// by another way than we would answer it: through a relay although we have a path,
// or directly although we have none.
func (c *Conn) noteInitiation(p *peer, from origin) {
	if (from.region != 0) != p.route.Load().direct.IsValid() {
		return
	}
	select {
	case c.inbox.initiations <- initiation{p, from}:
	default:
	}
}

// handleInitiation lets the peer's path know.
func (c *Conn) handleInitiation(i initiation) {
	c.happened(i.peer, func(p *path.Peer, now time.Time) path.Output {
		if i.from.region != 0 {
			return p.HandleHandshake(now)
		}
		return p.HandleInitiation(now, i.from.addr)
	})
}

// hearing tells the loop that a peer was heard through a region.
type hearing struct {
	peer   *peer
	region int
}

// hear tells the loop what it does not know yet, if it has time.
func (c *Conn) hear(p *peer, region int) {
	if p.heard.Load() == int64(region) {
		return
	}
	p.heard.Store(int64(region))
	select {
	case c.inbox.hearings <- hearing{p, region}:
	default:
		p.heard.Store(0) // the next packet tries again
	}
}

// maxDisco is the largest disco packet that is looked at when a relay brings
// it. On the underlay pings are padded up to what a datagram holds.
const maxDisco = 10 << 10

// discoPacket is a disco packet that a peer sent, or a relay or anybody else in
// its name.
type discoPacket struct {
	from   *peer
	region int            // of the relay it came through
	addr   netip.AddrPort // or where it came from; invalid when through a relay
	by     *sideSocket    // that received it; nil: an ordinary socket
	data   []byte
}

// deliver hands the loop a copy of a disco packet, if it has time.
func (c *Conn) deliver(from *peer, packet relay.Packet) {
	if len(packet.Data) > maxDisco || len(c.inbox.messages) == cap(c.inbox.messages) {
		return
	}
	select {
	case c.inbox.messages <- discoPacket{from: from, region: packet.Region, data: append([]byte(nil), packet.Data...)}:
	default:
	}
}
