package coord

import (
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// offlineAfter is how long a node without a map stream still counts as
	// online, so that a reconnect disturbs nobody.
	offlineAfter = 10 * time.Second
	// forgetAfter is how long an ephemeral node may be offline. Clients retry
	// within 30 seconds.
	forgetAfter = 40 * time.Second

	// beatInterval is how often a coordinator shows that it lives.
	beatInterval = 15 * time.Second
	// deadAfter is how long it may be silent. The streams that it had are
	// over then.
	deadAfter = 45 * time.Second
)

// coordinator is the record of a coordinator that serves the tailnet. A node is
// online while its record names a living coordinator.
type coordinator struct {
	ID      string // another one in each run
	Started time.Time
	Beat    time.Time // by its clock, which nobody else relies on
}

func (c *coordinator) entryKey() string { return kindCoordinator + "/" + c.ID }
func (c *coordinator) enter(s *state)   { s.coordinators[c.ID] = c }
func (c *coordinator) check() error     { return nil }

func (c *coordinator) leave(s *state) {
	delete(s.coordinators, c.ID)
	s.dueAt(longAgo) // its nodes are away now
}

// presence is what a coordinator knows of who is there and who is not, and the
// store need not.
type presence struct {
	// away holds the nodes that count as online and have no stream, and since
	// when: nodes of ours, and those of coordinators that are gone.
	away map[tailcfg.NodeID]time.Time
	// heard is when the coordinators last showed that they live, by our clock.
	heard map[string]time.Time
}

func newPresence() presence {
	return presence{away: make(map[tailcfg.NodeID]time.Time), heard: make(map[string]time.Time)}
}

// connected says that the node has a map stream here.
func (s *state) connected(id tailcfg.NodeID) {
	delete(s.presence.away, id)
	if n := s.nodes[id]; n != nil && n.Stream != s.self {
		s.change(n, func(n *node) { n.Stream = s.self })
	}
}

// disconnected says that the node's map stream here has ended.
func (s *state) disconnected(now time.Time, id tailcfg.NodeID) {
	if n := s.nodes[id]; n != nil && n.Stream == s.self {
		s.presence.away[id] = now
		s.dueAt(now.Add(offlineAfter))
	}
}

// beat shows that this coordinator lives.
func (s *state) beat(now time.Time) {
	c := coordinator{ID: s.self, Started: now}
	if mine := s.coordinators[s.self]; mine != nil {
		c = *mine
	}
	c.Beat = now
	s.put(&c)
}

// advancePresence does what has become due because somebody was silent.
func (s *state) advancePresence(now time.Time) {
	mine := s.coordinators[s.self]
	if mine == nil || !now.Before(mine.Beat.Add(beatInterval)) {
		s.beat(now)
	}
	s.dueAt(s.coordinators[s.self].Beat.Add(beatInterval))
	for id, c := range s.coordinators {
		if dead := s.presence.heard[id].Add(deadAfter); id == s.self {
			continue
		} else if now.Before(dead) {
			s.dueAt(dead)
		} else {
			delete(s.presence.heard, id)
			s.drop(c)
		}
	}
	for id, n := range s.nodes {
		s.advanceAbsence(now, id, n)
	}
}

// advanceAbsence looks whether a node that counts as online still does.
func (s *state) advanceAbsence(now time.Time, id tailcfg.NodeID, n *node) {
	since, away := s.presence.away[id]
	switch {
	case n.Stream == "", n.Stream != s.self && s.coordinators[n.Stream] != nil:
		delete(s.presence.away, id) // offline, or with another coordinator
	case n.Stream != s.self && !away: // its coordinator is gone
		s.presence.away[id] = now
		s.dueAt(now.Add(offlineAfter))
	case !away:
	case now.Before(since.Add(offlineAfter)):
		s.dueAt(since.Add(offlineAfter))
	default: // and away it stays until that is committed
		s.change(n, func(n *node) { n.Stream, n.LastSeen = "", since })
	}
}
