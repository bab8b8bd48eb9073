package simnet

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	// maxQueue is how much waits before a link with a rate: a router's buffer.
	maxQueue = 200 * time.Millisecond
	// firstRetry is after how long TCP repeats what was lost, doubled each
	// time: the shortest that Linux takes.
	firstRetry = 200 * time.Millisecond
	maxRetries = 6
	segment    = 1460 // bytes of a stream that are lost together
)

// Quality is how a link treats what crosses it, in one direction. The zero
// value is a perfect link.
type Quality struct {
	// Latency is how long a packet takes, one way.
	Latency time.Duration
	// Jitter is the most that chance adds to it, packet by packet: datagrams
	// overtake each other, streams stay in order.
	Jitter time.Duration
	// Loss is the part of packets that is lost, from 0 to 1. Streams are
	// late instead, as TCP is: by 200 ms for the first loss, and then doubled.
	Loss float64
	// MTU is the longest IP packet, in bytes with its headers (28 with
	// IPv4 and UDP, 48 with IPv6). Longer datagrams vanish; nobody is told. 0
	// is no limit.
	MTU int
	// Rate is in bits per second, headers included; 0 is no limit. Datagrams
	// that would wait for more than 200 ms are dropped.
	Rate int64
}

// A Link joins a host or a router to the router above it.
type Link struct {
	net      *Network
	up, down wire
	cut      bool
	dead     bool // its host has moved; cut for good
	circuits map[*circuit]struct{}
}

// A node is a Host or a Router: what stands at an end of a link.
type node interface {
	// receive takes a packet that has come over a wire.
	receive(p *packet, over *wire)
}

// A wire is one direction of a link.
type wire struct {
	link *Link
	to   node
	rand *rand.Rand
	q    Quality
	free time.Duration // when all that waits has left, on a link with a rate
	n    Count
}

// A Count is what crossed a link in one direction.
type Count struct {
	Packets uint64 // that were sent, lost ones included; of streams, pieces
	Bytes   uint64 // of them, with headers
	Lost    uint64 // packets that did not arrive
}

func newLink(n *Network, child node, parent *Router) *Link {
	l := &Link{net: n, circuits: make(map[*circuit]struct{})}
	l.up = wire{link: l, to: parent, rand: n.newRand()}
	l.down = wire{link: l, to: child, rand: n.newRand()}
	return l
}

// Set gives both directions a quality, for what is sent from now on.
func (l *Link) Set(q Quality) {
	l.net.lock()
	defer l.net.unlock()
	l.up.q, l.down.q = q, q
}

// SetUp gives a quality to the direction towards the internet.
func (l *Link) SetUp(q Quality) {
	l.net.lock()
	defer l.net.unlock()
	l.up.q = q
}

// SetDown gives a quality to the direction from the internet.
func (l *Link) SetDown(q Quality) {
	l.net.lock()
	defer l.net.unlock()
	l.down.q = q
}

// Cut cuts the link: datagrams are lost, those under way too, and connections
// stand still. Connections that stand still for two and a half minutes fail
// with ETIMEDOUT, as the keepalives of package net have it.
func (l *Link) Cut() {
	l.net.lock()
	defer l.net.unlock()
	l.sever()
}

// Heal undoes Cut, and connections go on where they stood.
func (l *Link) Heal() {
	l.net.lock()
	defer l.net.unlock()
	if !l.cut || l.dead {
		return
	}
	l.cut = false
	for c := range l.circuits {
		c.resume()
	}
}

// Reset ends all connections over the link with ECONNRESET at both ends, cut
// or not.
func (l *Link) Reset() {
	l.net.lock()
	defer l.net.unlock()
	for c := range l.circuits {
		c.fail(errReset)
	}
}

// Counts returns what has crossed the link towards the internet, and from it.
func (l *Link) Counts() (up, down Count) {
	l.net.lock()
	defer l.net.unlock()
	return l.up.n, l.down.n
}

func (l *Link) sever() {
	if l.cut {
		return
	}
	l.cut = true
	for c := range l.circuits {
		c.stall()
	}
}

// kill cuts a link for good.
func (l *Link) kill() {
	l.sever()
	l.dead = true
}

// opposite is the other direction of the same link.
func (w *wire) opposite() *wire {
	if w == &w.link.up {
		return &w.link.down
	}
	return &w.link.up
}

// carry takes a packet to the other end, now or later.
func (w *wire) carry(p *packet) {
	size := p.size()
	w.count(size)
	switch {
	case w.link.cut:
		w.lose(p, CutOff)
		return
	case w.q.MTU != 0 && size > w.q.MTU:
		w.lose(p, TooBig)
		return
	case w.q.Loss != 0 && w.rand.Float64() < w.q.Loss:
		w.lose(p, Lost)
		return
	case w.q.Rate > 0 && w.free-w.link.net.now > maxQueue:
		w.lose(p, Congested)
		return
	}
	p.wire = w
	if p.dial != nil {
		p.path = append(p.path, w)
	}
	if delay := w.delay(size); delay > 0 {
		w.link.net.at(w.link.net.now+delay, p)
	} else {
		w.to.receive(p, w)
	}
}

// carryStream says when a piece of a stream, which is neither lost nor too big
// nor out of order, is at the other end.
func (w *wire) carryStream(size int) time.Duration {
	size += headers4
	w.count(size)
	delay := w.delay(size)
	if w.q.Loss == 0 {
		return delay
	}
	loss := 1 - math.Pow(1-w.q.Loss, math.Ceil(float64(size)/segment))
	retry := firstRetry
	for range maxRetries {
		if w.rand.Float64() >= loss {
			break
		}
		delay += retry
		retry *= 2
	}
	return delay
}

// delay says how long size bytes take that are sent now.
func (w *wire) delay(size int) time.Duration {
	delay := w.q.Latency
	if w.q.Jitter > 0 {
		delay += time.Duration(w.rand.Int64N(int64(w.q.Jitter)))
	}
	if w.q.Rate > 0 {
		now := w.link.net.now
		w.free = max(w.free, now) + time.Duration(int64(size)*8*int64(time.Second)/w.q.Rate)
		delay += w.free - now
	}
	return delay
}

func (w *wire) count(size int) {
	w.n.Packets++
	w.n.Bytes += uint64(size)
}

func (w *wire) lose(p *packet, fate Fate) {
	w.n.Lost++
	p.drop(fate)
}
