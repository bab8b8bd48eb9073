package magicsock

import (
	"maps"

	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/key"
)

// A WireGuard message is this much larger than the packet in it, which is padded
// to a multiple of messagePadding.
const (
	messageOverhead = 32
	messagePadding  = 16
)

// packetSize returns the size of the largest packet in the tunnel whose message
// is no larger than size.
func packetSize(size int) int { return (size - messageOverhead) &^ (messagePadding - 1) }

// setMTU notes the size of the largest message that the path to a peer carries,
// and lets the parent know if packets are to be larger or smaller than they
// were.
func (c *Conn) setMTU(p *peer, size int) {
	mtu := 0
	if size > path.BaseMTU {
		mtu = packetSize(size)
	}
	if mtu == c.mtus[p.key] {
		return
	}
	c.log.Debug("the MTU of the path to a peer changes", "peer", p.key.Short(), "mtu", mtu)
	next := maps.Clone(c.mtus)
	if mtu == 0 {
		delete(next, p.key)
	} else {
		if next == nil {
			next = make(map[key.NodePublic]int)
		}
		next[p.key] = mtu
	}
	c.mtus = next
	c.publish()
}
