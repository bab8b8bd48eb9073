package coord

import (
	"cmp"
	"iter"
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// snapshot is the tailnet of one moment, as map streams tell it to nodes. It is
// never changed, so that all streams read it without a lock.
type snapshot struct {
	domain string
	nodes  []*node // in the order of their IDs
	derp   *derpmap.Map
	dns    *tailcfg.DNSConfig
	rules  []tailcfg.FilterRule

	stale chan struct{} // closed when there is a newer snapshot
}

func (s *snapshot) find(id tailcfg.NodeID) *node {
	i, ok := slices.BinarySearchFunc(s.nodes, id, func(n *node, id tailcfg.NodeID) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return nil
	}
	return s.nodes[i]
}

// hasMachine reports whether the machine has a node.
func (s *snapshot) hasMachine(machine key.MachinePublic) bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.Machine == machine })
}

// profiles returns the users that own the nodes.
func (s *snapshot) profiles(nodes ...*tailcfg.Node) []tailcfg.UserProfile {
	var users []tailcfg.UserProfile
	for _, n := range nodes {
		if !slices.ContainsFunc(users, func(u tailcfg.UserProfile) bool { return u.ID == n.User }) {
			users = append(users, s.profile(n.User))
		}
	}
	return users
}

func (s *snapshot) profile(id tailcfg.UserID) tailcfg.UserProfile {
	if id == taggedUser {
		return tailcfg.UserProfile{ID: id, LoginName: "tagged-devices", DisplayName: "Tagged Devices"}
	}
	return tailcfg.UserProfile{ID: id, LoginName: "user@" + s.domain, DisplayName: s.domain}
}

// pairs walks two lists of nodes, each in the order of IDs, and yields the
// nodes of each ID that is in either; nil for the one where it is not.
func pairs(old, next []*node) iter.Seq2[*node, *node] {
	return func(yield func(before, after *node) bool) {
		for len(old) > 0 || len(next) > 0 {
			var before, after *node
			if len(next) == 0 || len(old) > 0 && old[0].ID <= next[0].ID {
				before = old[0]
			}
			if len(old) == 0 || len(next) > 0 && next[0].ID <= old[0].ID {
				after = next[0]
			}
			if before != nil {
				old = old[1:]
			}
			if after != nil {
				next = next[1:]
			}
			if !yield(before, after) {
				return
			}
		}
	}
}
