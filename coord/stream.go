package coord

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// stream is the one map stream of a node: what it was told, and what has
// changed since. It always tells the difference: a node that reads slowly gets
// fewer and larger frames, and nobody waits for it.
type stream struct {
	id  tailcfg.NodeID
	end context.CancelFunc

	// The stream's own.
	self  *node  // as it was told
	terms *terms // as they were told

	changed chan struct{} // holds one: there is something in before, or terms are new

	mu sync.Mutex
	// before holds the nodes that have changed since they were told, as they
	// were then; nil for those that were not there. Guarded by mu.
	before map[tailcfg.NodeID]*node
}

func newStream(id tailcfg.NodeID, end context.CancelFunc) *stream {
	return &stream{id: id, end: end, changed: make(chan struct{}, 1)}
}

// note keeps in mind that a node has changed.
func (st *stream) note(id tailcfg.NodeID, was *node) {
	st.mu.Lock()
	if _, ok := st.before[id]; !ok {
		if st.before == nil {
			st.before = make(map[tailcfg.NodeID]*node)
		}
		st.before[id] = was
	}
	st.mu.Unlock()
}

func (st *stream) wake() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

// take returns what note has kept in mind.
func (st *stream) take() map[tailcfg.NodeID]*node {
	st.mu.Lock()
	defer st.mu.Unlock()
	before := st.before
	st.before = nil
	return before
}

// first returns the first frame.
func (st *stream) first(now *snapshot) *tailcfg.MapResponse {
	if st.self, st.terms = now.find(st.id), now.terms; st.self == nil {
		return nil
	}
	return fullMap(now, st.self)
}

// next returns the frame that tells what has changed; nil when nothing has that
// concerns the node. It reports whether the node is still there.
func (st *stream) next(now *snapshot, before map[tailcfg.NodeID]*node) (resp *tailcfg.MapResponse, there bool) {
	was, terms := st.self, st.terms
	if st.self, st.terms = now.find(st.id), now.terms; st.self == nil {
		return farewell(terms, was, undo(now.nodes, before)), false
	}
	changes := changesOf(now, before)
	if st.terms != terms || !was.looksLike(st.self) { // then other nodes may be seen than before
		changes = pairs(undo(now.nodes, before), now.nodes)
	}
	return delta(terms, now.terms, was, st.self, changes), true
}

// changesOf yields the nodes that have changed as they were and as they are, in
// the order of their IDs.
func changesOf(now *snapshot, before map[tailcfg.NodeID]*node) iter.Seq2[*node, *node] {
	return func(yield func(before, after *node) bool) {
		for _, id := range slices.Sorted(maps.Keys(before)) {
			if !yield(before[id], now.find(id)) {
				return
			}
		}
	}
}

// undo returns the nodes as they were before, in the order of their IDs.
func undo(nodes []*node, before map[tailcfg.NodeID]*node) []*node {
	now := snapshot{nodes: nodes}
	altered := make(map[tailcfg.NodeID]*node, len(before))
	for id := range before {
		altered[id] = now.find(id)
	}
	return now.with(altered, before)
}

// streams are those of all nodes. The zero value is ready.
type streams struct {
	mu     sync.Mutex
	byNode map[tailcfg.NodeID]*stream
}

// add makes st the stream of its node and ends the one before.
func (s *streams) add(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.byNode[st.id]; other != nil {
		other.end()
	}
	if s.byNode == nil {
		s.byNode = make(map[tailcfg.NodeID]*stream)
	}
	s.byNode[st.id] = st
}

// remove reports whether st was still the stream of its node.
func (s *streams) remove(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byNode[st.id] != st {
		return false
	}
	delete(s.byNode, st.id)
	return true
}

// of returns the stream of the node, or nil.
func (s *streams) of(id tailcfg.NodeID) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNode[id]
}

// tell lets all whom it concerns know that there is a new snapshot: with other
// terms, if all is set, and with other nodes than those in altered.
func (s *streams) tell(all bool, altered map[tailcfg.NodeID]*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !all && len(altered) == 0 {
		return
	}
	for _, st := range s.byNode {
		for id, was := range altered {
			st.note(id, was)
		}
		st.wake()
	}
}
