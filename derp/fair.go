package derp

import "time"

const (
	quantum  = 4 << 10 // bytes that a flow may send when it is its turn, three packets of the tunnel
	maxFlows = 256     // of their own turns; when there are more, the rest share one
)

// flow is what one sender has waiting for one destination. It belongs to a fair
// queue, and is guarded by what guards that.
type flow struct {
	waiting list
	credit  int           // bytes that it may still send in this turn
	next    *flow         // behind it in the queue, while something waits
	room    chan struct{} // gets an element when there is room again; nil: nobody waits for it
}

// fair is a queue in which each sender has its own line, and the lines take
// turns (deficit round robin: Shreedhar and Varghese, 1995). So whoever sends
// little is not held up by whoever sends much. It is bounded by the memory that
// all of them take: who needs most of it makes room for the others.
type fair struct {
	limit       int // bytes of memory
	cost        int
	flows       int
	first, last *flow // those in which something waits, in the order of their turns
	crowd       flow
}

// push adds m to a flow, which must have been chosen by pick.
func (q *fair) push(f *flow, m *message) {
	if f.waiting.n == 0 {
		f.credit = quantum
		q.append(f)
		q.flows++
	}
	f.waiting.push(m)
	q.cost += m.cost()
}

// pick returns the flow that stands for f: f itself unless there are too many.
func (q *fair) pick(f *flow) *flow {
	if f.waiting.n == 0 && q.flows >= maxFlows {
		return &q.crowd
	}
	return f
}

// pop returns what is to be sent next, or nil.
func (q *fair) pop() *message {
	for q.first != nil && q.first.credit <= 0 {
		f := q.first
		f.credit += quantum
		q.remove(f, nil)
		q.append(f)
	}
	if q.first == nil {
		return nil
	}
	f := q.first
	f.credit -= f.waiting.first.size()
	return q.take(f, nil)
}

// pushOut returns the oldest message of the longest flow, whose place another
// needs. There must be one.
func (q *fair) pushOut() *message { return q.take(q.longest()) }

// longest returns the flow that takes the most memory, and the one before it.
func (q *fair) longest() (f, before *flow) {
	f = q.first
	for b := q.first; b.next != nil; b = b.next {
		if b.next.waiting.cost > f.waiting.cost {
			f, before = b.next, b
		}
	}
	return f, before
}

// patience returns how long the sender of m, for which there is no room, should
// wait for it. Zero means not at all.
//
// A destination that is quick paces those who flood it, instead of losing what
// they have sent: nothing is gained by a packet that was received and then
// dropped. But one that is slow must not hold anybody up. So who fills the
// queue waits only as long as the oldest packet of its own has waited for less
// than maxWait; in the worst case it can still send all of the queue's limit
// in that time, to a destination that takes nothing at all.
func (q *fair) patience(f *flow, now time.Time) time.Duration {
	if f == &q.crowd || f.waiting.n == 0 {
		return 0
	}
	left := maxWait - now.Sub(f.waiting.first.at)
	if left <= 0 {
		return 0
	}
	if fattest, _ := q.longest(); fattest != f {
		return 0 // the other makes room
	}
	return left
}

// take takes the oldest message out of f, which stands behind before.
func (q *fair) take(f, before *flow) *message {
	m := f.waiting.pop()
	q.cost -= m.cost()
	if f.waiting.n == 0 {
		q.remove(f, before)
		q.flows--
	}
	if f.room != nil && q.cost <= q.limit*3/4 {
		select {
		case f.room <- struct{}{}:
		default: // from a wait that has timed out; as good
		}
		f.room = nil
	}
	return m
}

func (q *fair) append(f *flow) {
	f.next = nil
	if q.last == nil {
		q.first = f
	} else {
		q.last.next = f
	}
	q.last = f
}

func (q *fair) remove(f, before *flow) {
	if before == nil {
		q.first = f.next
	} else {
		before.next = f.next
	}
	if q.last == f {
		q.last = before
	}
	f.next = nil
}
