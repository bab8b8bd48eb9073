package coord

import (
	"maps"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// publish makes the present state the one that streams tell, and tells them. It
// is called by the loop.
func (s *Server) publish() {
	st, old := s.loop.state, s.current.Load()
	settled := st.settled
	st.settled = nil
	if next := st.snapshot(old); next != nil {
		if old.policy != next.policy {
			s.log.Info("policy: " + next.policyStatus())
		}
		s.streams.tell(old, next, st.altered, &s.current)
		clear(st.altered)
	}
	s.waiters.settle(settled)
}

// snapshot returns the present state, or nil when that is what old says.
func (s *state) snapshot(old *snapshot) *snapshot {
	s.settleTerms()
	for id, was := range s.altered {
		if s.nodes[id] == was {
			delete(s.altered, id)
		}
	}
	if len(s.altered) == 0 && s.terms == old.terms && s.admin == old.admin {
		return nil
	}
	next := &snapshot{terms: s.terms, nodes: old.nodes, access: s.compile(old), admin: s.admin}
	if len(s.altered) > 0 {
		next.nodes = old.with(s.altered, s.nodes)
	}
	return next
}

// settleTerms makes the terms those of the present users, policy, DNS and
// authority.
func (s *state) settleTerms() {
	if !s.usersChanged && s.terms.policy == s.policy && s.terms.source == s.dns && s.terms.authority == s.authority {
		return
	}
	t := *s.terms
	t.authority = s.authority
	if s.usersChanged {
		t.users, s.usersChanged = maps.Clone(s.users), false
	}
	if t.policy = s.policy; t.source != s.dns {
		t.source, t.dns = s.dns, s.dns.wire(t.domain)
	}
	s.terms = &t
}

// tell makes next the current snapshot and lets all know whom it concerns: all,
// if it has other terms, and else who saw, or now sees, one of the altered nodes.
func (s *streams) tell(old, next *snapshot, altered map[tailcfg.NodeID]*node, current *atomic.Pointer[snapshot]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current.Store(next)
	if old.terms != next.terms {
		for _, st := range s.byNode {
			for id, was := range altered {
				st.note(id, was)
			}
			st.wake()
		}
		return
	}
	for id, was := range altered {
		s.tellOf(old, next, id, was)
	}
}

// tellOf tells of one altered node. The caller holds mu.
func (s *streams) tellOf(old, next *snapshot, id tailcfg.NodeID, was *node) {
	tell := func(to tailcfg.NodeID) {
		if st := s.byNode[to]; st != nil {
			st.note(id, was)
		}
	}
	tell(id)
	before, after := old.access.View(id), next.access.View(id)
	if before != nil {
		for peer := range before.Peers() { // to see is mutual
			tell(peer)
		}
	}
	if after != nil && !after.SamePeers(before) {
		for peer := range after.Peers() {
			tell(peer)
		}
	}
}
