package coord

import (
	"cmp"
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/policy"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// snapshot is the tailnet of one moment, as map streams tell it to nodes. It is
// never changed, so that all streams read it without a lock.
type snapshot struct {
	*terms
	nodes  []*node // in the order of their IDs
	access *policy.Compiled
	admin  *admin
}

// terms is what of a snapshot is about no node in particular. It changes
// seldom, and snapshots share it.
type terms struct {
	domain string
	derp   *derpmap.Map
	dns    *tailcfg.DNSConfig
	source *DNS // of dns
	users  map[tailcfg.UserID]*user
	policy *policy.Policy
	// authority signs certificates, and publishes says that nodes may publish
	// what other authorities ask for.
	authority *cert.Authority
	publishes bool
}

func compareID(n *node, id tailcfg.NodeID) int { return cmp.Compare(n.ID, id) }

func (s *snapshot) find(id tailcfg.NodeID) *node {
	i, ok := slices.BinarySearchFunc(s.nodes, id, compareID)
	if !ok {
		return nil
	}
	return s.nodes[i]
}

// ids returns those of the nodes, in their order.
func (s *snapshot) ids() []tailcfg.NodeID {
	ids := make([]tailcfg.NodeID, len(s.nodes))
	for i, n := range s.nodes {
		ids[i] = n.ID
	}
	return ids
}

// sightOf returns what the node may know, or false when it is not there.
func (s *snapshot) sightOf(id tailcfg.NodeID) (sight, bool) {
	n := s.find(id)
	if n == nil {
		return sight{}, false
	}
	return sight{self: n, view: s.access.View(id), terms: s.terms}, true
}

// hasMachine reports whether the machine has a node.
func (s *snapshot) hasMachine(machine key.MachinePublic) bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.Machine == machine })
}

// profiles returns those of the users, each once.
func (t *terms) profiles(users []tailcfg.UserID) (profiles []tailcfg.UserProfile) {
	slices.Sort(users)
	for _, id := range slices.Compact(users) {
		profiles = append(profiles, t.profile(id))
	}
	return profiles
}

func (t *terms) profile(id tailcfg.UserID) tailcfg.UserProfile {
	if id == taggedUser {
		return tailcfg.UserProfile{ID: id, LoginName: "tagged-devices", DisplayName: "Tagged Devices"}
	}
	if u := t.users[id]; u != nil {
		return u.profile(t.domain)
	}
	return tailcfg.UserProfile{ID: id, LoginName: "nobody@" + t.domain, DisplayName: "nobody"}
}

// with returns the nodes after those that are altered have become what now
// says, in the order of their IDs.
func (s *snapshot) with(altered, now map[tailcfg.NodeID]*node) []*node {
	nodes, fresh, gone := slices.Clone(s.nodes), []*node(nil), false
	for id := range altered {
		n := now[id]
		i, found := slices.BinarySearchFunc(s.nodes, id, compareID)
		switch {
		case found:
			nodes[i] = n
			gone = gone || n == nil
		case n != nil:
			fresh = append(fresh, n)
		}
	}
	if gone {
		nodes = slices.DeleteFunc(nodes, func(n *node) bool { return n == nil })
	}
	byID := func(a, b *node) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(fresh, byID)
	nodes = append(nodes, fresh...)
	if !slices.IsSortedFunc(nodes, byID) { // told by another coordinator in another order
		slices.SortFunc(nodes, byID)
	}
	return nodes
}
