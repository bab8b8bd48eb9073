package coord

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

const (
	// offlineAfter is how long a node without a map stream still counts as
	// online, so that a reconnect disturbs nobody.
	offlineAfter = 10 * time.Second
	// forgetAfter is how long an ephemeral node may be without a map stream.
	// Clients retry within 30 seconds.
	forgetAfter = 50 * time.Second
)

// state is what the coordinator knows, and decides everything that changes it.
// It has no clock, no lock and no goroutine: the server calls it under its lock
// and passes the time.
type state struct {
	keyExpiry time.Duration // of new node keys; 0 is never

	nodes    map[tailcfg.NodeID]*node
	byKey    map[key.NodePublic]tailcfg.NodeID
	lastID   tailcfg.NodeID
	alloc    allocator
	authKeys map[string]*authKey // by ID
	logins   map[string]*login   // by ID

	// away holds the nodes that were here and have no map stream, and since
	// when. Those for whom nothing is left to do are not in it.
	away map[tailcfg.NodeID]time.Time

	// revision counts the changes of all the above but logins and away.
	revision uint64
}

func newState(alloc allocator, keyExpiry time.Duration) *state {
	return &state{
		keyExpiry: keyExpiry,
		alloc:     alloc,
		nodes:     make(map[tailcfg.NodeID]*node),
		byKey:     make(map[key.NodePublic]tailcfg.NodeID),
		authKeys:  make(map[string]*authKey),
		logins:    make(map[string]*login),
		away:      make(map[tailcfg.NodeID]time.Time),
	}
}

// put makes n the record of its ID.
func (s *state) put(n *node) {
	if old := s.nodes[n.ID]; old != nil {
		delete(s.byKey, old.Key)
	}
	s.nodes[n.ID] = n
	s.byKey[n.Key] = n.ID
	s.revision++
}

// change puts a copy of the node after f has changed it.
func (s *state) change(n *node, f func(*node)) *node {
	changed := *n
	f(&changed)
	s.put(&changed)
	return &changed
}

func (s *state) remove(n *node) {
	delete(s.nodes, n.ID)
	delete(s.byKey, n.Key)
	delete(s.away, n.ID)
	s.revision++
}

// find returns the node with that key if it belongs to the machine, or nil.
func (s *state) find(k key.NodePublic, machine key.MachinePublic) *node {
	if n := s.nodes[s.byKey[k]]; n != nil && n.Machine == machine {
		return n
	}
	return nil
}

// sorted returns all nodes in the order of their IDs.
func (s *state) sorted() []*node {
	nodes := make([]*node, 0, len(s.nodes))
	for _, n := range s.nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
	return nodes
}

// connected says that the node has a map stream.
func (s *state) connected(id tailcfg.NodeID) {
	delete(s.away, id)
	if n := s.nodes[id]; n != nil && !n.Online {
		s.change(n, func(n *node) { n.Online = true })
	}
}

// disconnected says that the node's map stream has ended.
func (s *state) disconnected(now time.Time, id tailcfg.NodeID) {
	if s.nodes[id] != nil {
		s.away[id] = now
	}
}

// expire ends the node's membership until it is admitted anew.
func (s *state) expire(now time.Time, n *node) {
	s.change(n, func(n *node) { n.KeyExpiry, n.Expired = now, true })
}

// advance does what has become due by now.
func (s *state) advance(now time.Time) {
	for id, since := range s.away {
		s.stayAway(s.nodes[id], since, now)
	}
	for _, n := range s.nodes {
		if !n.Expired && !n.KeyExpiry.IsZero() && !now.Before(n.KeyExpiry) {
			s.change(n, func(n *node) { n.Expired = true })
		}
	}
	for id, l := range s.logins {
		if now.Before(l.expires) {
			continue
		}
		delete(s.logins, id)
		if !l.approved {
			close(l.decided)
		}
	}
}

func (s *state) stayAway(n *node, since, now time.Time) {
	if n.Online && !now.Before(since.Add(offlineAfter)) {
		n = s.change(n, func(n *node) { n.Online, n.LastSeen = false, since })
	}
	switch {
	case n.Online:
	case !n.Ephemeral:
		delete(s.away, n.ID)
	case !now.Before(since.Add(forgetAfter)):
		s.remove(n)
	}
}

// deadline returns when advance has something to do next, or zero.
func (s *state) deadline() (next time.Time) {
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for id, since := range s.away {
		if s.nodes[id].Online {
			earlier(since.Add(offlineAfter))
		} else {
			earlier(since.Add(forgetAfter))
		}
	}
	for _, n := range s.nodes {
		if !n.Expired && !n.KeyExpiry.IsZero() {
			earlier(n.KeyExpiry)
		}
	}
	for _, l := range s.logins {
		earlier(l.expires)
	}
	return next
}

// byID returns the node, or an error for the administrator who named it.
func (s *state) byID(id int64) (*node, error) {
	if n := s.nodes[tailcfg.NodeID(id)]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("coord: there is no node %d", id)
}

func (s *state) rename(id int64, name string) error {
	n, err := s.byID(id)
	switch {
	case err != nil:
		return err
	case name == "": // back to what the node asks for
		s.change(n, func(n *node) { n.Renamed, n.Name = false, s.uniqueName(n.Wanted, n.ID) })
		return nil
	case name != label(name):
		return fmt.Errorf("coord: %q is not a DNS label of lower-case letters, digits and hyphens", name)
	case s.uniqueName(name, n.ID) != name:
		return errors.New("coord: another node is named " + name)
	}
	s.change(n, func(n *node) { n.Renamed, n.Name = true, name })
	return nil
}
