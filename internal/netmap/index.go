package netmap

import (
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// index says who has a key or an address. It holds IDs, not nodes, so that
// maps whose nodes differ in other things share it.
type index struct {
	byKey  map[key.NodePublic]tailcfg.NodeID
	byAddr map[netip.Addr]tailcfg.NodeID
	// clean is true when no two nodes claimed one thing: the peers are the
	// nodes as they were told.
	clean bool
}

// sameIdentity reports whether index and names are the same for a and b.
func sameIdentity(a, b *tailcfg.Node) bool {
	return a == b || a.ID == b.ID && a.Key == b.Key && a.Name == b.Name &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.AllowedIPs, b.AllowedIPs)
}

// resolve gives every key and address to the first that claims it: self, then
// nodes in order. The peers are those nodes that have a key, without what
// belongs to others.
func resolve(self *tailcfg.Node, nodes []*tailcfg.Node) (peers []*tailcfg.Node, idx *index) {
	idx = &index{
		byKey:  make(map[key.NodePublic]tailcfg.NodeID, len(nodes)+1),
		byAddr: make(map[netip.Addr]tailcfg.NodeID, 2*len(nodes)+2),
	}
	idx.claimKey(self)
	idx.claimAddrs(self)
	peers = make([]*tailcfg.Node, 0, len(nodes))
	for _, n := range nodes {
		if n.ID != self.ID && idx.claimKey(n) {
			idx.claimAddrs(n)
			peers = append(peers, n)
		}
	}
	for i, n := range peers { // when all claims are known
		peers[i] = idx.cut(n)
	}
	idx.clean = slices.Equal(peers, nodes)
	return peers, idx
}

// claimKey reports whether the node has a key that nobody had before it.
func (x *index) claimKey(n *tailcfg.Node) bool {
	if _, taken := x.byKey[n.Key]; taken || n.Key.IsZero() {
		return false
	}
	x.byKey[n.Key] = n.ID
	return true
}

func (x *index) claimAddrs(n *tailcfg.Node) {
	for _, p := range n.Addresses {
		if _, taken := x.byAddr[p.Addr()]; !taken {
			x.byAddr[p.Addr()] = n.ID
		}
	}
}

// cut returns n without addresses of others. Routes to whole networks stay:
// an address is more specific.
func (x *index) cut(n *tailcfg.Node) *tailcfg.Node {
	others := func(p netip.Prefix) bool {
		owner, claimed := x.byAddr[p.Addr()]
		return p.IsSingleIP() && claimed && owner != n.ID
	}
	if !slices.ContainsFunc(n.Addresses, others) && !slices.ContainsFunc(n.AllowedIPs, others) {
		return n
	}
	c := *n
	c.Addresses = slices.DeleteFunc(slices.Clone(n.Addresses), others)
	c.AllowedIPs = slices.DeleteFunc(slices.Clone(n.AllowedIPs), others)
	return &c
}
