package router

import (
	"container/heap"
	"sync"
	"time"
)

// packet is one that is on its way.
type packet struct {
	at   time.Duration // when it arrives
	turn uint64        // of two that arrive at once, the one that was sent first is first
	data []byte
}

// queue holds packets until they arrive.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond // when there is a first packet, or the queue is closed
	packets byArrival
	turns   uint64
	closed  bool
	spare   [][]byte
}

func newQueue() *queue {
	q := new(queue)
	q.filled.L = &q.mu
	return q
}

// put has a packet arrive at a time; it is copied.
func (q *queue) put(at time.Duration, data []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var buf []byte
	if n := len(q.spare); n > 0 {
		buf, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	heap.Push(&q.packets, packet{at, q.turns, append(buf[:0], data...)})
	if q.turns++; len(q.packets) == 1 {
		q.filled.Signal()
	}
}

// due returns the first packet if it has arrived, or else how long that takes.
// It waits while there is no packet; false means that the queue is closed.
func (q *queue) due(now func() time.Duration) (data []byte, wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.packets) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil, 0, false
	}
	if wait = q.packets[0].at - now(); wait > 0 {
		return nil, wait, true
	}
	return heap.Pop(&q.packets).(packet).data, 0, true
}

// done gives a packet's memory back.
func (q *queue) done(data []byte) {
	const most = 1024
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.spare) < most {
		q.spare = append(q.spare, data)
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// byArrival is a heap.
type byArrival []packet

func (h byArrival) Len() int { return len(h) }
func (h byArrival) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].turn < h[j].turn
}
func (h byArrival) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byArrival) Push(p any)   { *h = append(*h, p.(packet)) }
func (h *byArrival) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = packet{}
	*h = (*h)[:last]
	return p
}
