// Package reorder puts packets of WireGuard back into the order in which they were
// sent, before they are decrypted.
//
// Networks reorder packets a little, and a sender of TCP takes that for loss. A
// transport packet of WireGuard says in clear which one of its session it is
// (WireGuard's paper, section 5.4.6):
//
//	+---+-------+----------+---------+-----------+
//	| 4 | 0 0 0 | receiver | counter | encrypted |
//	+---+-------+----------+---------+-----------+
//	 0   1       4          8         16
//
// So a receiver can hold what came too early until the rest is there. Where nothing
// is missing nothing is held; and where what is missing is lost and not late, which
// is soon found out, holding would be in vain and ceases. What the header says is
// not authenticated: who forges it can delay packets of a session by [maxHold].
package reorder

import (
	"encoding/binary"
	"slices"
	"time"
)

const (
	typeTransport = 4
	headerSize    = 16

	// maxHeld bounds how many packets wait, of all sessions, and maxBytes their
	// buffers: 5 ms of 1 Gbit/s.
	maxHeld  = 1024
	maxBytes = 1 << 20

	// maxSessions is how many are told apart; a new one takes another's place.
	maxSessions = 256
)

// A Buffer orders the packets that come by one socket. E is what comes with a
// packet, such as its sender. One goroutine at a time may use it; the zero value
// is ready.
type Buffer[E any] struct {
	sessions [maxSessions]*session[E]
	holding  []*session[E] // those that hold packets

	ready []packet[E] // what goes out, in this order
	gone  int         // of ready
	free  [][]byte
	count int // of packets held and ready
	bytes int // of all buffers
}

// A session has its packets that wait for earlier ones.
type session[E any] struct {
	order
	held []packet[E] // by counter
}

type packet[E any] struct {
	counter uint64
	came    time.Time
	data    []byte
	with    E
}

// Add takes a packet that has come. It reports whether the packet may go on as it
// is; if not, it has been copied, and comes out of [Buffer.Next] in its turn.
// Before it is given the first packet of a batch, Next must have returned all.
func (b *Buffer[E]) Add(now time.Time, data []byte, with E) (passes bool) {
	p := packet[E]{came: now, data: data, with: with}
	index, counter, ok := parse(data)
	if !ok {
		return b.pass(p)
	}
	p.counter = counter
	s := b.session(index)
	switch s.place(now, counter, s.since()) {
	case past:
		return b.pass(p)
	case early:
		if b.count < maxHeld && b.bytes < maxBytes {
			b.hold(s, p)
			return false
		}
		b.giveUp(s)
		s.skip(now, counter)
	case strange:
		b.giveUp(s)
		s.begin(counter)
	}
	passes = b.pass(p)
	s.next++
	b.release(s)
	return passes
}

// parse returns what the header of a transport packet says.
func parse(data []byte) (index uint32, counter uint64, ok bool) {
	if len(data) < headerSize || data[0] != typeTransport {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint64(data[8:]), true
}

// since returns when the first of the packets that are held came, or zero.
func (s *session[E]) since() (came time.Time) {
	if len(s.held) > 0 {
		came = s.held[0].came
	}
	return came
}

// session returns the one with an index; WireGuard chooses indexes at random.
func (b *Buffer[E]) session(index uint32) *session[E] {
	place := &b.sessions[index%maxSessions]
	if *place == nil {
		*place = new(session[E])
		(*place).index = index
	}
	s := *place
	if s.index != index {
		b.giveUp(s)
		s.order = order{index: index}
	}
	return s
}

// pass lets a packet go on, after those that are ready.
func (b *Buffer[E]) pass(p packet[E]) bool {
	if len(b.ready) == 0 {
		return true
	}
	b.ready = append(b.ready, b.copied(p))
	return false
}

// hold keeps a packet until those before it have come.
func (b *Buffer[E]) hold(s *session[E], p packet[E]) {
	if len(s.held) == 0 {
		b.holding = append(b.holding, s)
	}
	at := len(s.held)
	for at > 0 && s.held[at-1].counter > p.counter {
		at--
	}
	s.held = slices.Insert(s.held, at, b.copied(p))
}

// release makes ready what waits for nothing any more.
func (b *Buffer[E]) release(s *session[E]) {
	n := 0
	for n < len(s.held) && s.held[n].counter <= s.next { // those twice there come out twice
		s.next = s.held[n].counter + 1
		n++
	}
	b.goOn(s, n)
}

// giveUp makes ready all that a session holds.
func (b *Buffer[E]) giveUp(s *session[E]) { b.goOn(s, len(s.held)) }

// goOn makes ready the first n packets that a session holds.
func (b *Buffer[E]) goOn(s *session[E], n int) {
	if n == 0 {
		return
	}
	b.ready = append(b.ready, s.held[:n]...)
	s.held = slices.Delete(s.held, 0, n)
	if len(s.held) == 0 {
		b.holding = slices.DeleteFunc(b.holding, func(other *session[E]) bool { return other == s })
	}
}

// copied returns a packet with its data in a buffer of ours.
func (b *Buffer[E]) copied(p packet[E]) packet[E] {
	b.count++
	var buf []byte
	if n := len(b.free); n > 0 {
		buf, b.free = b.free[n-1], b.free[:n-1]
	}
	if cap(buf) < len(p.data) {
		b.bytes += len(p.data) - cap(buf)
		buf = make([]byte, 0, len(p.data))
	}
	p.data = append(buf[:0], p.data...)
	return p
}

// Next returns the packet that goes out now, until ok is false. Its data is good
// until the next call of Add.
func (b *Buffer[E]) Next() (data []byte, with E, ok bool) {
	if b.gone == len(b.ready) {
		return nil, with, false
	}
	p := b.ready[b.gone]
	b.ready[b.gone] = packet[E]{}
	if b.gone++; b.gone == len(b.ready) {
		b.ready, b.gone = b.ready[:0], 0
	}
	b.count--
	b.free = append(b.free, p.data)
	return p.data, p.with, true
}

// Expire lets those go on that have waited long enough.
func (b *Buffer[E]) Expire(now time.Time) {
	for i := len(b.holding) - 1; i >= 0; i-- {
		s := b.holding[i]
		for len(s.held) > 0 && !now.Before(s.held[0].came.Add(s.patience())) {
			s.skip(s.held[0].came, s.held[0].counter)
			b.release(s)
		}
	}
}

// Deadline returns when to call [Buffer.Expire] next, if there is anything held.
func (b *Buffer[E]) Deadline() (at time.Time, ok bool) {
	for _, s := range b.holding {
		if due := s.held[0].came.Add(s.patience()); !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return at, ok
}
