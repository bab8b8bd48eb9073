package derp

import (
	"sync"

	"github.com/meshnet-go/meshnet/key"
)

// maxRoutes is to how many peers a client sends at a time. When it sends to
// more, it begins anew.
const maxRoutes = 4096

// route is the way of a sender's packets to one peer.
type route struct {
	to         *destination
	generation uint64 // of the registry's links, when to was looked up
	disco      flow
	packets    flow
}

// routes are those of one sender. They are owned by who reads from it.
type routes map[key.NodePublic]*route

// route returns the way of packets from src to dst, or nil if there is none.
// Packets that came from another relay are not sent on to a third.
func (s *Server) route(ways routes, src, dst key.NodePublic, forwarded bool) *route {
	r := ways[dst]
	if r != nil && r.to.live.Load() && (!r.to.remote || r.generation == s.registry.generation.Load()) {
		return r
	}
	to, generation := s.registry.lookup(dst, !forwarded)
	switch {
	case to == nil:
		delete(ways, dst) // what it leads to has ended
		return nil
	case r != nil && r.to == to:
		r.generation = generation
		return r
	}
	if len(ways) >= maxRoutes {
		clear(ways)
	}
	r = &route{to: to, generation: generation}
	ways[dst] = r
	if !to.remote {
		s.heard.note(src, to)
	}
	return r
}

// heard knows which clients have got packets from whom, to tell them when that
// key is gone from the region.
type heard struct {
	mu   sync.Mutex // guards what is below
	from map[key.NodePublic]map[*destination]struct{}
	by   map[*destination]map[key.NodePublic]struct{} // the same the other way round
}

func newHeard() *heard {
	return &heard{
		from: make(map[key.NodePublic]map[*destination]struct{}),
		by:   make(map[*destination]map[key.NodePublic]struct{}),
	}
}

// note says that to gets packets from src.
func (h *heard) note(src key.NodePublic, to *destination) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.from[src]) >= maxRoutes || len(h.by[to]) >= maxRoutes {
		return // some will not hear when src is gone
	}
	if !to.live.Load() {
		return // it may have been forgotten already
	}
	if h.from[src] == nil {
		h.from[src] = make(map[*destination]struct{})
	}
	if h.by[to] == nil {
		h.by[to] = make(map[key.NodePublic]struct{})
	}
	h.from[src][to] = struct{}{}
	h.by[to][src] = struct{}{}
}

// take returns who has heard from src, and forgets it.
func (h *heard) take(src key.NodePublic) map[*destination]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := h.from[src]
	delete(h.from, src)
	for to := range who {
		remove(h.by, to, src)
	}
	return who
}

// forget takes out a destination that has ended.
func (h *heard) forget(to *destination) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for src := range h.by[to] {
		remove(h.from, src, to)
	}
	delete(h.by, to)
}

// remove takes b out of a's set.
func remove[A, B comparable](sets map[A]map[B]struct{}, a A, b B) {
	delete(sets[a], b)
	if len(sets[a]) == 0 {
		delete(sets, a)
	}
}
