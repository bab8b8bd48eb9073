package derp

import (
	"sync"

	"github.com/meshnet-go/meshnet/key"
)

const (
	laneBytes = 256 << 10  // bounds a lane, besides its length
	smallData = 2<<10 - 64 // what a pooled message has room for
)

// message is a frame on its way through the relay.
type message struct {
	typ  FrameType
	peer key.NodePublic // in front of data, for the types that have one
	data []byte
	room [smallData]byte
}

// messages is where messages come from and go back to.
type messages struct{ pool sync.Pool }

// get returns a message whose data has size bytes.
func (p *messages) get(typ FrameType, peer key.NodePublic, size int) *message {
	m, _ := p.pool.Get().(*message)
	if m == nil {
		m = new(message)
	}
	m.typ, m.peer = typ, peer
	if size <= len(m.room) {
		m.data = m.room[:size]
	} else {
		m.data = make([]byte, size)
	}
	return m
}

func (p *messages) put(m *message) {
	m.data = nil
	p.pool.Put(m)
}

// lane tells what may not push out what.
type lane int

const (
	laneControl lane = iota // goes first; there is little of it
	laneDisco               // these two take turns
	laneOther
	lanes
)

// laneLen is how many messages a lane holds. WireGuard hands over up to 128
// packets at a time, which reach us faster than we can write them: of bursts
// of 128, a lane of 32 lost every second packet on loopback, and one of 128
// less than one in a hundred.
var laneLen = [lanes]int{laneControl: 32, laneDisco: 32, laneOther: 128}

// outbox holds what waits to be written to one client. It is bounded: what is
// new pushes out what is oldest in its lane.
type outbox struct {
	pool *messages
	wake chan struct{} // has an element when something may be waiting

	mu     sync.Mutex // guards what is below
	closed bool
	lanes  [lanes]queue
	turn   lane // laneDisco or laneOther: whose turn it is
}

func newOutbox(pool *messages) *outbox {
	o := &outbox{pool: pool, wake: make(chan struct{}, 1), turn: laneDisco}
	for i := range o.lanes {
		o.lanes[i].items = make([]*message, laneLen[i])
	}
	return o
}

// push takes m over.
func (o *outbox) push(l lane, m *message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.pool.put(m)
		return
	}
	q := &o.lanes[l]
	for !q.fits(m) {
		o.pool.put(q.pop())
	}
	q.push(m)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pop returns what is to be written next, or nil. The caller puts it back into
// the pool.
func (o *outbox) pop() *message {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m := o.lanes[laneControl].pop(); m != nil {
		return m
	}
	mine := o.turn
	other := laneDisco + laneOther - mine
	o.turn = other
	if m := o.lanes[mine].pop(); m != nil {
		return m
	}
	return o.lanes[other].pop()
}

// close drops what waits and all that comes.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for i := range o.lanes {
		for m := o.lanes[i].pop(); m != nil; m = o.lanes[i].pop() {
			o.pool.put(m)
		}
	}
}

// queue is a bounded first-in, first-out queue.
type queue struct {
	items []*message
	head  int // index of the oldest
	n     int
	bytes int
}

func (q *queue) fits(m *message) bool {
	return q.n == 0 || q.n < len(q.items) && q.bytes+len(m.data) <= laneBytes
}

func (q *queue) push(m *message) {
	q.items[(q.head+q.n)%len(q.items)] = m
	q.n++
	q.bytes += len(m.data)
}

func (q *queue) pop() *message {
	if q.n == 0 {
		return nil
	}
	m := q.items[q.head]
	q.items[q.head] = nil
	q.head = (q.head + 1) % len(q.items)
	q.n--
	q.bytes -= len(m.data)
	return m
}
