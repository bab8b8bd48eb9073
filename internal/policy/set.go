package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// node is a node of a Compiled, and immutable but for what it remembers.
type node struct {
	Node
	class  *class
	own    []string // its addresses as filters write them
	memory memory
}

func newNode(n Node, c *class) *node {
	own := make([]string, len(n.Addrs))
	for i, a := range n.Addrs {
		own[i] = a.String()
	}
	return &node{Node: n, class: c, own: own}
}

// set is nodes in the order of their IDs. It is immutable: a change makes
// another.
type set struct {
	nodes []*node

	idsOnce sync.Once
	ids     []tailcfg.NodeID

	textsOnce sync.Once
	texts     []string
}

// merge returns s without the nodes whose IDs are in changed, and with those of
// added; both are in order.
func (s *set) merge(changed []tailcfg.NodeID, added []*node) *set {
	var old []*node
	if s != nil {
		old = s.nodes
	}
	merged := make([]*node, 0, len(old)+len(added))
	for _, id := range changed {
		i, found := find(old, id)
		merged, old = append(merged, old[:i]...), old[i:]
		if found {
			old = old[1:]
		}
		if len(added) > 0 && added[0].ID == id {
			merged, added = append(merged, added[0]), added[1:]
		}
	}
	return &set{nodes: append(merged, old...)}
}

func find(nodes []*node, id tailcfg.NodeID) (int, bool) {
	return slices.BinarySearchFunc(nodes, id, func(n *node, id tailcfg.NodeID) int { return cmp.Compare(n.ID, id) })
}

func (s *set) allIDs() []tailcfg.NodeID {
	s.idsOnce.Do(func() {
		s.ids = make([]tailcfg.NodeID, len(s.nodes))
		for i, n := range s.nodes {
			s.ids[i] = n.ID
		}
	})
	return s.ids
}

// union returns the IDs of the nodes in any of sets.
func union(sets []*set) []tailcfg.NodeID {
	full := slices.DeleteFunc(slices.Clone(sets), func(s *set) bool { return len(s.nodes) == 0 })
	if len(full) == 1 {
		return full[0].allIDs()
	}
	var ids []tailcfg.NodeID
	for _, s := range full {
		ids = append(ids, s.allIDs()...)
	}
	slices.Sort(ids)
	return slices.Clip(slices.Compact(ids))
}

// sourceTexts returns the addresses of all nodes in the set as filters write
// them, those side by side as ranges.
func (s *set) sourceTexts() []string {
	s.textsOnce.Do(func() {
		addrs := make([]netip.Addr, 0, 2*len(s.nodes))
		for _, n := range s.nodes {
			addrs = append(addrs, n.Addrs...)
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		for len(addrs) > 0 {
			first, last := addrs[0], addrs[0]
			for addrs = addrs[1:]; len(addrs) > 0 && (addrs[0] == last || addrs[0] == last.Next()); addrs = addrs[1:] {
				last = addrs[0]
			}
			s.texts = append(s.texts, rangeText(first, last))
		}
	})
	return s.texts
}

func rangeText(first, last netip.Addr) string {
	if first == last {
		return first.String()
	}
	return first.String() + "-" + last.String()
}
