package magicsock

import (
	"container/heap"
	"time"
)

// A schedule has the peers to be looked at, the earliest first.
type schedule struct {
	byTime dueHeap
	alarm  alarm // for the first
}

// set notes when p is to be looked at: zero for never.
func (s *schedule) set(p *peer, at time.Time) {
	switch scheduled := p.slot > 0; {
	case at.IsZero() && scheduled:
		heap.Remove(&s.byTime, p.slot-1)
	case at.IsZero():
	case scheduled:
		p.due = at
		heap.Fix(&s.byTime, p.slot-1)
	default:
		p.due = at
		heap.Push(&s.byTime, p)
	}
}

// setAlarm is to be called after changes.
func (s *schedule) setAlarm() {
	var due time.Time
	if len(s.byTime) > 0 {
		due = s.byTime[0].due
	}
	s.alarm.set(due)
}

// take removes and returns a peer that is due, or nil.
func (s *schedule) take(now time.Time) *peer {
	if len(s.byTime) == 0 || s.byTime[0].due.After(now) {
		return nil
	}
	return heap.Pop(&s.byTime).(*peer)
}

// dueHeap implements heap.Interface. A peer's slot is its index plus one.
type dueHeap []*peer

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	*h = append(*h, x.(*peer))
	x.(*peer).slot = len(*h)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.slot = 0
	return p
}
