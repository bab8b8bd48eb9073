package magicsock

import (
	"maps"

	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/key"
)

// setMTU notes the size of the largest message that the path to a peer carries,
// and lets the parent know if that is news.
func (c *Conn) setMTU(p *peer, size int) {
	mtu := 0
	if size > path.BaseMTU {
		mtu = size
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
