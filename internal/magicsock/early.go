package magicsock

import (
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/key"
)

// When two nodes come up at the same moment, one hears of the other first, and
// its first packet may arrive before the coordinator has told of it here:
//
//	packet of a stranger ── loop: early ── SetPeers, PeersReady ── WireGuard
//
// Only WireGuard's initiations are worth the wait. Lost ones are repeated after
// 5 s, and nothing else is sent until one is answered; disco messages come
// again by themselves.

const (
	// maxEarly bounds for how many senders a packet is held: strangers are
	// whoever a relay admits.
	maxEarly = 64

	// earlyTime is how long one is held. Its sender has by then given it up
	// and sent another (WireGuard's REKEY_TIMEOUT).
	earlyTime = 5 * time.Second
)

// early holds the newest initiation of each sender that WireGuard does not know
// yet, in the order in which they came.
type early []earlyPacket

type earlyPacket struct {
	relay.Packet
	came time.Time
}

// hold keeps a packet, and forgets those that it replaces: an earlier one of
// its sender, those that are too old, and for want of room the oldest.
func (e *early) hold(now time.Time, packet relay.Packet) {
	e.drop(func(p earlyPacket) bool { return p.Src == packet.Src || p.tooOld(now) })
	if len(*e) == maxEarly {
		*e = slices.Delete(*e, 0, 1)
	}
	*e = append(*e, earlyPacket{packet, now})
}

// take removes and returns the packets whose sender is known, but for those
// that are too old.
func (e *early) take(now time.Time, known func(key.NodePublic) bool) []relay.Packet {
	var taken []relay.Packet
	e.drop(func(p earlyPacket) bool {
		if p.tooOld(now) {
			return true
		}
		if !known(p.Src) {
			return false
		}
		taken = append(taken, p.Packet)
		return true
	})
	return taken
}

func (e *early) drop(which func(earlyPacket) bool) { *e = slices.DeleteFunc(*e, which) }

func (p earlyPacket) tooOld(now time.Time) bool { return now.Sub(p.came) >= earlyTime }

// keepEarly hands the loop a copy of an initiation that WireGuard could not
// answer yet, if it has time. Receivers call it.
func (c *Conn) keepEarly(packet relay.Packet) {
	if len(c.inbox.strangers) == cap(c.inbox.strangers) {
		return
	}
	select {
	case c.inbox.strangers <- relay.Packet{Region: packet.Region, Src: packet.Src, Data: slices.Clone(packet.Data)}:
	default:
	}
}

// handleEarly holds an initiation until its sender is known, which may have
// happened since a receiver looked.
func (c *Conn) handleEarly(packet relay.Packet) {
	c.early.hold(time.Now(), packet)
	c.releaseEarly()
}

// releaseEarly gives the receivers what they could not make use of before.
func (c *Conn) releaseEarly() {
	peers := *c.peers.Load()
	known := func(k key.NodePublic) bool { p := peers[k]; return p != nil && p.ready.Load() }
	for _, packet := range c.early.take(time.Now(), known) {
		c.release(packet.Region, packet.Src, packet.Data)
	}
}

// release gives the receivers a packet that was held, if they have time.
func (c *Conn) release(region int, src key.NodePublic, data []byte) {
	select {
	case c.released <- relay.Packet{Region: region, Src: src, Data: data}:
	default:
	}
}
