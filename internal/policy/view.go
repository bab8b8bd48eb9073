package policy

import (
	"iter"
	"slices"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// View is what a node is to be told. It is immutable. What has to be told anew
// is what SameRules and SamePeers deny of the view that was told before.
type View struct {
	id     tailcfg.NodeID
	filter *packetFilter
	peers  *peers
}

// memory is the view that was made of a node last.
type memory struct{ latest atomic.Pointer[View] }

// View returns what the node is to be told, or nil for one that is not there.
// As long as nothing changes that concerns the node it is the same pointer.
func (c *Compiled) View(id tailcfg.NodeID) *View {
	i, found := find(c.all.nodes, id)
	if !found {
		return nil
	}
	n := c.all.nodes[i]
	peers := c.peersOf(n.class)
	latest := n.memory.latest.Load()
	f := c.filterOf(n, latest)
	if latest != nil && latest.filter == f && latest.peers == peers {
		return latest
	}
	v := &View{id, f, peers}
	n.memory.latest.Store(v)
	return v
}

// filterOf returns the filter of the node's latest view as long as it is right,
// and else another.
func (c *Compiled) filterOf(n *node, latest *View) *packetFilter {
	if latest != nil && c.fresh(latest.filter, n) {
		return latest.filter
	}
	return c.filter(n)
}

// Rules returns the node's packet filter. It is not nil, and belongs to the
// view: it must not be changed.
func (v *View) Rules() []tailcfg.FilterRule { return v.filter.rules }

// Peers yields the IDs of the nodes that the node sees, in their order: those
// that it may reach or have a capability at, by any rule, and those that may
// do so with it. Whoever it sees sees it.
//
// It is by rules and nodes, not by packets: a node with an IPv4 address among
// a rule's sources sees one with an IPv6 address among its destinations.
func (v *View) Peers() iter.Seq[tailcfg.NodeID] {
	return func(yield func(tailcfg.NodeID) bool) {
		for _, id := range v.peers.ids {
			if id != v.id && !yield(id) {
				return
			}
		}
	}
}

// Sees reports whether the peer is among Peers.
func (v *View) Sees(peer tailcfg.NodeID) bool {
	_, found := slices.BinarySearch(v.peers.ids, peer)
	return found && peer != v.id
}

// SameRules reports whether both views have the same packet filter. It may say
// no where rules were made anew that say the same.
func (v *View) SameRules(w *View) bool { return v == w || v != nil && w != nil && v.filter == w.filter }

// SamePeers reports whether both views have the same peers. It may say no
// where the sets were made anew.
func (v *View) SamePeers(w *View) bool {
	return v == w || v != nil && w != nil && v.id == w.id && sameSlice(v.peers.ids, w.peers.ids)
}

func sameSlice(a, b []tailcfg.NodeID) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
