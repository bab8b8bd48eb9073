package derp

import (
	"sync"
	"time"
)

const (
	// What waits for a client, at most. Across an ocean (150 ms), the first is
	// 50 Mbit/s; what a sender is not held below is in fair.patience.
	packetBytes = 1 << 20
	discoBytes  = 64 << 10
	maxControl  = 32 // messages of ours

	// What waits for another relay of the region goes to many clients.
	meshPacketBytes = 8 << 20
	meshDiscoBytes  = 1 << 20

	// maxWait is how long a packet may have waited for its destination to count
	// as quick, so that its senders wait for it.
	maxWait = 20 * time.Millisecond
)

// lane tells what may not push out what.
type lane int

const (
	laneControl lane = iota // goes first; there is little of it
	laneDisco               // these two take turns
	lanePacket
)

// outbox holds what waits to be written to one destination, and knows whether
// somebody is about to write it: a goroutine that exists only while there is
// something to do. It is bounded. What is new pushes out what is old.
type outbox struct {
	pool   *messages
	wake   chan struct{} // has an element when something may be waiting; closed when there is to be no more
	writer sync.WaitGroup

	mu      sync.Mutex // guards what is below
	closed  bool
	writing bool // a writer exists
	control list
	disco   fair
	packets fair
	turn    lane   // laneDisco or lanePacket: whose turn it is
	lost    uint64 // packets that were pushed out
}

func newOutbox(pool *messages, packets, disco int) *outbox {
	return &outbox{
		pool:    pool,
		wake:    make(chan struct{}, 1),
		turn:    laneDisco,
		disco:   fair{limit: disco},
		packets: fair{limit: packets},
	}
}

// tell takes m over, which is from us. Like all that add something, it reports
// whether the caller must start a writer, which calls writer.Done in the end.
func (o *outbox) tell(m *message) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.pool.put(m)
		return false
	}
	if o.control.n >= maxControl {
		o.pool.put(o.control.pop())
	}
	o.control.push(m)
	return o.poke()
}

// offer takes m over, unless its sender should wait until the outbox has said
// in room that there is room, or that time has passed, and offer it again. Then
// the time is not zero. room must be able to hold an element.
func (o *outbox) offer(l lane, f *flow, m *message, room chan struct{}, now time.Time) (wait time.Duration, start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.pool.put(m)
		return 0, false
	}
	q := &o.packets
	if l == laneDisco {
		q = &o.disco
	}
	f = q.pick(f)
	f.room = nil
	for q.cost > 0 && q.cost+m.cost() > q.limit {
		if wait := q.patience(f, now); wait > 0 && l == lanePacket {
			f.room = room
			return wait, false
		}
		o.pool.put(q.pushOut())
		o.lost++
	}
	m.at = now
	q.push(f, m)
	return 0, o.poke()
}

// nudge makes the writer look whether there is something to write.
func (o *outbox) nudge() (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && o.poke()
}

func (o *outbox) poke() (start bool) {
	if !o.writing {
		o.writing = true
		o.writer.Add(1)
		return true
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return false
}

// retire reports whether the writer may end, because nothing waits.
func (o *outbox) retire() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wake) > 0 || o.closed {
		return false
	}
	o.writing = false
	return true
}

// take returns what is to be written next: as many messages as have frames of
// size bytes together, and at least one if there is one. The caller puts them
// back into the pool.
func (o *outbox) take(size int) list {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out list
	for size > 0 {
		m := o.pop()
		if m == nil {
			break
		}
		size -= m.size()
		out.push(m)
	}
	return out
}

func (o *outbox) pop() *message {
	if m := o.control.pop(); m != nil {
		return m
	}
	first, second := &o.disco, &o.packets
	if o.turn == lanePacket {
		first, second = second, first
	}
	o.turn = laneDisco + lanePacket - o.turn
	if m := first.pop(); m != nil {
		return m
	}
	return second.pop()
}

// overflowed returns how many packets were pushed out.
func (o *outbox) overflowed() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

// finish takes m over, which is the last; what waits is still written.
func (o *outbox) finish(m *message) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.pool.put(m)
		return false
	}
	o.control.push(m)
	start = o.poke()
	o.closed = true
	close(o.wake)
	return start
}

// close drops what waits and all that comes, and waits for the writer to end.
func (o *outbox) close() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.wake)
	}
	for m := o.pop(); m != nil; m = o.pop() {
		o.pool.put(m)
	}
	o.mu.Unlock()
	o.writer.Wait()
}
