package netstack

import (
	"hash/maphash"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// queueLen is how many packets wait for the reader of the device. What does
	// not fit is dropped. A packet of TCP is up to 64 KiB long but shares its bytes
	// with the connection's send buffer, so that a long queue costs little.
	queueLen = 8192
	// laneLen is how many of them may be of one lane, about the longest packets
	// that a send buffer holds, several times over.
	laneLen = 1024

	lanes   = 64
	quantum = 64 << 10 // bytes that a lane sends before it is another's turn
)

// A queue is what the stack has sent and nobody has read yet. It is fair: the
// connections are spread over lanes, and lanes take turns. A lane that has been
// empty comes before those that always have something, so that keystrokes do not
// wait behind bulk. (This is the scheduling of RFC 8290, sections 4.1.2 and 4.2.)
type queue struct {
	seed maphash.Seed

	mu     sync.Mutex
	lanes  [lanes]lane
	fresh  turns // lanes that have just got something
	busy   turns
	count  int
	closed bool

	readable sync.Cond
}

// A lane is the packets of some connections, in order.
type lane struct {
	packets []*stack.PacketBuffer
	first   int // of packets; those before are gone
	credit  int // bytes until its turn is over
	next    *lane
	waits   bool // for its turn, in fresh or busy
}

// turns are lanes in the order of their turns.
type turns struct{ first, last *lane }

func newQueue() *queue {
	q := &queue{seed: maphash.MakeSeed()}
	q.readable.L = &q.mu
	return q
}

// put queues a packet, and takes it over if so.
func (q *queue) put(pkt *stack.PacketBuffer) bool {
	at := q.laneOf(pkt)
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[at]
	if q.closed || q.count == queueLen || l.len() == laneLen {
		return false
	}
	l.push(pkt)
	if !l.waits {
		l.credit = quantum
		q.fresh.push(l)
	}
	if q.count++; q.count == 1 {
		q.readable.Signal()
	}
	return true
}

// laneOf returns the lane for a packet: by its addresses and ports.
func (q *queue) laneOf(pkt *stack.PacketBuffer) int {
	var hash maphash.Hash
	hash.SetSeed(q.seed)
	ip := pkt.NetworkHeader().Slice()
	switch {
	case pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber && len(ip) >= header.IPv4MinimumSize:
		hash.Write(ip[12:20])
	case len(ip) >= header.IPv6MinimumSize:
		hash.Write(ip[8:40])
	}
	if transport := pkt.TransportHeader().Slice(); len(transport) >= 4 && hasPorts(pkt.TransportProtocolNumber) {
		hash.Write(transport[:4])
	}
	return int(hash.Sum64() % lanes)
}

func hasPorts(protocol tcpip.TransportProtocolNumber) bool {
	return protocol == header.TCPProtocolNumber || protocol == header.UDPProtocolNumber
}

// take returns the packet whose turn it is, which it waits for if patient. It is
// nil when there is none; after close what is left comes first.
func (q *queue) take(patient bool) *stack.PacketBuffer {
	q.mu.Lock()
	defer q.mu.Unlock()
	for patient && !q.closed && q.count == 0 {
		q.readable.Wait()
	}
	if q.count == 0 {
		return nil
	}
	q.count--
	for {
		from := &q.fresh
		if from.first == nil {
			from = &q.busy
		}
		l := from.first
		switch {
		case l.credit <= 0:
			from.pop()
			l.credit += quantum
			q.busy.push(l)
		case l.len() == 0:
			from.pop()
			if from == &q.fresh { // it is not fresh again at once
				q.busy.push(l)
			}
		default:
			pkt := l.pop()
			l.credit -= pkt.Size()
			return pkt
		}
	}
}

// close ends all waiting.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.readable.Broadcast()
}

func (l *lane) len() int { return len(l.packets) - l.first }

func (l *lane) push(pkt *stack.PacketBuffer) {
	if l.first > 0 && len(l.packets) == cap(l.packets) { // rather than grow
		n := copy(l.packets, l.packets[l.first:])
		clear(l.packets[n:])
		l.packets, l.first = l.packets[:n], 0
	}
	l.packets = append(l.packets, pkt)
}

func (l *lane) pop() *stack.PacketBuffer {
	pkt := l.packets[l.first]
	l.packets[l.first] = nil
	if l.first++; l.first == len(l.packets) {
		l.packets, l.first = l.packets[:0], 0
	}
	return pkt
}

func (t *turns) push(l *lane) {
	l.waits, l.next = true, nil
	if t.first == nil {
		t.first = l
	} else {
		t.last.next = l
	}
	t.last = l
}

func (t *turns) pop() {
	l := t.first
	t.first = l.next
	l.waits, l.next = false, nil
}
