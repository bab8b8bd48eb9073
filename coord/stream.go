package coord

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// stream is the one map stream of a node: what it was told, and what has
// changed since. It always tells the difference: a node that reads slowly gets
// fewer and larger frames, and nobody waits for it.
type stream struct {
	id  tailcfg.NodeID
	end context.CancelFunc

	// The stream's own.
	told sight
	dead bool // the node gives no sign of life

	pongs   chan string   // answers of the node to pings; holds one
	changed chan struct{} // holds one: there is something in before, or terms are new

	// before holds the nodes that have changed since they were told, as they
	// were then; nil for those that were not there. Guarded by streams.mu.
	before map[tailcfg.NodeID]*node
	// asks are pings that the node is to be asked for. Guarded by streams.mu.
	asks []*tailcfg.PingRequest
}

func newStream(id tailcfg.NodeID, end context.CancelFunc) *stream {
	return &stream{id: id, end: end, pongs: make(chan string, 1), changed: make(chan struct{}, 1)}
}

// note keeps in mind that a node has changed, and wakes the stream.
func (st *stream) note(id tailcfg.NodeID, was *node) {
	if _, ok := st.before[id]; !ok {
		if st.before == nil {
			st.before = make(map[tailcfg.NodeID]*node)
		}
		st.before[id] = was
	}
	st.wake()
}

func (st *stream) wake() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

// first returns the first frame, or nil when the node is not there.
func (st *stream) first(now *snapshot) *tailcfg.MapResponse {
	var there bool
	if st.told, there = now.sightOf(st.id); !there {
		return nil
	}
	return fullMap(now, st.told)
}

// next returns the frame that tells what has changed; nil when nothing has that
// concerns the node. It reports whether the node is still there.
func (st *stream) next(now *snapshot, before map[tailcfg.NodeID]*node) (resp *tailcfg.MapResponse, there bool) {
	old := st.told
	if st.told, there = now.sightOf(st.id); !there {
		return farewell(old), false
	}
	return delta(old, st.told, st.changes(old, now, before)), true
}

// changes yields what may have changed for the node: nodes as they were and as
// they are, in the order of their IDs.
func (st *stream) changes(old sight, now *snapshot, before map[tailcfg.NodeID]*node) iter.Seq2[*node, *node] {
	ids := slices.Collect(maps.Keys(before))
	if old.terms != st.told.terms || !old.self.looksLike(st.told.self) { // it may see others than before
		ids = slices.AppendSeq(ids, old.view.Peers())
		ids = slices.AppendSeq(ids, st.told.view.Peers())
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return func(yield func(before, after *node) bool) {
		for _, id := range ids {
			is := now.find(id)
			was, altered := before[id]
			if !altered {
				was = is
			}
			if !yield(was, is) {
				return
			}
		}
	}
}

// streams are those of all nodes. The zero value is ready.
type streams struct {
	mu     sync.Mutex // held while a snapshot takes the place of the last, and that is noted
	byNode map[tailcfg.NodeID]*stream
}

// look returns the current snapshot, and what has changed until then since the
// stream looked last.
func (s *streams) look(st *stream, current *atomic.Pointer[snapshot]) (now *snapshot, before map[tailcfg.NodeID]*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, st.before = st.before, nil
	return current.Load(), before
}

// ask has the node asked for a ping, unless it has no stream, or that is slow.
func (s *streams) ask(id tailcfg.NodeID, p *tailcfg.PingRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.byNode[id]; st != nil && len(st.asks) < surveyAtOnce {
		st.asks = append(st.asks, p)
		st.wake()
	}
}

// asked returns the pings that the node is to be asked for.
func (s *streams) asked(st *stream) (asks []*tailcfg.PingRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asks, st.asks = st.asks, nil
	return asks
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

// count returns how many there are.
func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byNode)
}

// of returns the stream of the node, or nil.
func (s *streams) of(id tailcfg.NodeID) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNode[id]
}
