package coord

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// snapshot is the tailnet of one moment, as map streams tell it to nodes. It is
// never changed, so that all streams read it without a lock.
type snapshot struct {
	*terms
	nodes []*node // in the order of their IDs
}

// terms is what of a snapshot is about no node in particular. It changes
// seldom, and snapshots share it.
type terms struct {
	domain string
	derp   *derpmap.Map
	dns    *tailcfg.DNSConfig
	rules  []tailcfg.FilterRule
	users  map[tailcfg.UserID]*user
}

// publish makes the present state the one that streams tell, and tells them.
func (s *Server) publish() {
	st, old := s.loop.state, s.current.Load()
	defer s.waiters.settle(st.settled)
	st.settled = nil
	if st.usersChanged {
		t := *st.terms
		t.users, st.usersChanged = maps.Clone(st.users), false
		st.terms = &t
	}
	for id, was := range st.altered {
		if st.nodes[id] == was {
			delete(st.altered, id)
		}
	}
	next := &snapshot{terms: st.terms, nodes: old.nodes}
	if len(st.altered) > 0 {
		next.nodes = old.with(st.altered, st.nodes)
	} else if next.terms == old.terms {
		return
	}
	s.current.Store(next)
	s.streams.tell(next.terms != old.terms, st.altered)
	clear(st.altered)
}

func compareID(n *node, id tailcfg.NodeID) int { return cmp.Compare(n.ID, id) }

func (s *snapshot) find(id tailcfg.NodeID) *node {
	i, ok := slices.BinarySearchFunc(s.nodes, id, compareID)
	if !ok {
		return nil
	}
	return s.nodes[i]
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
func (s *snapshot) with(altered map[tailcfg.NodeID]*node, now map[tailcfg.NodeID]*node) []*node {
	nodes := make([]*node, 0, len(now))
	for _, n := range s.nodes {
		if _, ok := altered[n.ID]; ok {
			n = now[n.ID]
		}
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	sorted := true
	for id, was := range altered {
		if n := now[id]; was == nil && n != nil {
			sorted = sorted && (len(nodes) == 0 || nodes[len(nodes)-1].ID < id)
			nodes = append(nodes, n)
		}
	}
	if !sorted {
		slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
	}
	return nodes
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
