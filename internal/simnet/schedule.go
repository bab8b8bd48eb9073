package simnet

import "time"

// An event is something that will happen. It happens with the network locked,
// at the time now of its schedule.
type event interface{ fire() }

// A schedule is what will happen: a heap by time, and one timer for the first
// of it. Times are durations since the start of the network.
type schedule struct {
	now   time.Duration // the present moment, while the network is locked
	heap  []entry
	seq   uint64
	timer *time.Timer
	armed time.Duration // when the timer comes; 0: it does not
}

type entry struct {
	due time.Duration
	seq uint64 // keeps the order of what is due at the same time
	event
}

func (e entry) before(other entry) bool {
	return e.due < other.due || e.due == other.due && e.seq < other.seq
}

// lock takes the network in its present state: all that was due has happened.
// So a sender overtakes nothing, however late the timer is.
func (n *Network) lock() {
	n.mu.Lock()
	n.run(time.Since(n.start))
}

// unlock lets go of the network, with its timer set.
func (n *Network) unlock() {
	n.arm()
	n.mu.Unlock()
}

// wake is the timer's function.
func (n *Network) wake() {
	n.mu.Lock()
	n.armed = 0
	n.run(time.Since(n.start))
	n.unlock()
}

// at makes an event happen at a time.
func (s *schedule) at(due time.Duration, e event) {
	s.seq++
	s.push(entry{due, s.seq, e})
}

// run lets happen what is due until a moment, each event at its own time: a
// packet that the timer was late for is not late at its next hop.
func (s *schedule) run(until time.Duration) {
	for len(s.heap) > 0 && s.heap[0].due <= until {
		e := s.pop()
		s.now = max(s.now, e.due)
		e.fire()
	}
	s.now = max(s.now, until)
}

func (n *Network) arm() {
	if len(n.heap) == 0 || n.closed {
		return
	}
	due := n.heap[0].due
	if n.armed != 0 && n.armed <= due {
		return
	}
	n.armed = due
	if n.timer == nil {
		n.timer = time.AfterFunc(due-n.now, n.wake)
	} else {
		n.timer.Reset(due - n.now)
	}
}

// stop forgets what would have happened.
func (s *schedule) stop() {
	s.heap = nil
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *schedule) push(e entry) {
	s.heap = append(s.heap, e)
	i := len(s.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(s.heap[parent]) {
			break
		}
		s.heap[i] = s.heap[parent]
		i = parent
	}
	s.heap[i] = e
}

func (s *schedule) pop() entry {
	first, last := s.heap[0], s.heap[len(s.heap)-1]
	s.heap[len(s.heap)-1] = entry{}
	s.heap = s.heap[:len(s.heap)-1]
	if len(s.heap) > 0 {
		s.sink(last)
	}
	return first
}

// sink puts e into the hole at the top.
func (s *schedule) sink(e entry) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(s.heap) {
			break
		}
		if right := child + 1; right < len(s.heap) && s.heap[right].before(s.heap[child]) {
			child = right
		}
		if !s.heap[child].before(e) {
			break
		}
		s.heap[i] = s.heap[child]
		i = child
	}
	s.heap[i] = e
}
