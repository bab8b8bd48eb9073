package derp

import (
	"net/netip"
	"sync"

	"github.com/meshnet-go/meshnet/key"
)

// change is that a key is connected, or that it is no more: then it has no
// flags.
type change struct {
	key   key.NodePublic
	addr  netip.AddrPort
	flags PeerFlags
}

func present(c *session) change { return change{key: c.key, addr: c.addr, flags: c.flags} }

// news is what another relay is still to be told of who comes and goes. Nothing
// of it may be lost, but of one key only the last counts: so it is bounded by
// the number of clients.
type news struct {
	mu      sync.Mutex
	changes map[key.NodePublic]change
}

func newNews() *news { return &news{changes: make(map[key.NodePublic]change)} }

func (n *news) add(changes ...change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range changes {
		n.changes[c.key] = c
	}
}

// appendTo appends frames until dst has size bytes, and takes out what they
// say.
func (n *news) appendTo(dst []byte, size int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, c := range n.changes {
		if len(dst) >= size {
			break
		}
		delete(n.changes, k)
		if c.flags != 0 {
			dst = appendPresent(dst, k, c.addr, c.flags)
			continue
		}
		dst = k.AppendRaw(appendHeader(dst, FramePeerGone, key.Size+1))
		dst = append(dst, byte(PeerGoneDisconnected))
	}
	return dst
}
