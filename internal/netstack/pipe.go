package netstack

import "time"

// A pipe decides how many bytes a connection may have under way on a long path:
// as many as the path carries in a round trip, and half as many again. Without it
// gVisor's TCP doubles what it sends until the queue of some router overflows by
// thousands of packets, which its recovery does not mend before the timeout, and
// then needs minutes to regain the rate of the path. The model, a path's best rate
// and shortest round trip, is that of BBR (draft-ietf-ccwg-bbr).
//
// What is under way is limited by the size of the send buffer, which holds what is
// not acknowledged. So all there is to see are the moments when the buffer is full:
// what is written between two of them has been acknowledged.
//
// On a short path a connection needs little, and gVisor gives it all it may: there
// it has its share of what all connections that write may have.
type pipe struct {
	size    int           // of the send buffer; 0: gVisor chooses
	trip    time.Duration // the shortest
	smooth  time.Duration // as TCP has it
	rates   rates
	phase   phase
	flat    int           // rounds of startup in which the rate did not grow
	steady  time.Time     // since when the phase is steady
	drained time.Duration // the round trip in the first round of drain
	last    time.Time     // when the buffer was full
	written int           // then
	round   round
}

type phase int

const (
	startup phase = iota // the rate of the path is not known yet
	steady
	drain // less is under way than the path carries, to see the round trip without queue
)

// A round is a time in which the buffer is kept full; the zero value is none.
type round struct {
	began time.Time
	acked int // bytes, from the beginning of the connection
}

const (
	// longWay is the round trip from which on there is a pipe. Below, little is
	// lost by losing much at once.
	longWay = 5 * time.Millisecond

	minSize    = 256 << 10        // of the buffer
	minDrained = 8 << 10          // in the phase drain
	drainTime  = 10 * time.Second // how long a round trip is believed

	minRound = 10 * time.Millisecond
	// looks is how often per round trip there is a look whether the buffer has
	// room, as gVisor tells only when half of it has.
	looks   = 16
	minLook = time.Millisecond
)

// buffered is what there is to see when the send buffer is full.
type buffered struct {
	written  int           // bytes, since the beginning of the connection
	size     int           // of the buffer
	share    int           // that it may have on a short path
	trip     time.Duration // the smoothed round trip that TCP knows, or 0
	recovers bool          // TCP does, from loss
}

// full takes note that the send buffer is full. It returns the size which the
// buffer is to have and how soon to look for room in it, or 0 and 0 if both are
// gVisor's to say.
func (p *pipe) full(now time.Time, b buffered) (size int, look time.Duration) {
	p.smooth = b.trip
	if b.trip > 0 && (p.trip == 0 || b.trip < p.trip) {
		p.trip = b.trip
	}
	if p.trip < longWay {
		return p.release(b), 0
	}
	if p.size == 0 {
		p.size = b.size
	}
	ours := p.size
	p.observe(now, b.written)
	if b.recovers || b.size != ours {
		// What was held up is acknowledged at once; or gVisor has set a size in
		// the same moment as we.
		p.round = round{}
	}
	return p.size, max(p.trip/looks, minLook)
}

// release leaves the buffer to gVisor for as long as that takes no more than the
// connection's share, and has it be that from then on.
func (p *pipe) release(b buffered) (size int) {
	if p.size == 0 && b.size <= b.share {
		return 0
	}
	*p = pipe{trip: p.trip, smooth: p.smooth, size: b.share}
	return b.share
}

// observe is called whenever the buffer is full, several times in a round.
func (p *pipe) observe(now time.Time, written int) {
	more := written > p.written
	waited := now.Sub(p.last)
	p.written, p.last = written, now
	switch {
	case waited > p.trip/4+minRound: // the writer was away: this says nothing of the path
		p.round = round{}
		fallthrough
	case p.round == round{}:
		if more { // now as much is under way as the buffer holds
			p.round = round{now, written - p.size}
		}
	case now.Sub(p.round.began) >= p.roundTime():
		p.endRound(now, written)
	}
}

// roundTime is how long a rate is measured: what is acknowledged may come in bursts,
// one in a round trip.
func (p *pipe) roundTime() time.Duration { return max(p.trip, p.smooth, minRound) }

func (p *pipe) endRound(now time.Time, written int) {
	elapsed := now.Sub(p.round.began).Seconds()
	rate := float64(written-p.size-p.round.acked) / elapsed
	before := p.rates.best()
	p.rates.add(rate)
	trip := time.Duration(float64(p.size) / max(rate, 1) * float64(time.Second))
	switch p.phase {
	case startup:
		if p.flat++; p.rates.best() > before*1.25 {
			p.flat = 0
		}
		if p.flat == 3 {
			p.phase, p.steady = steady, now
		}
	case drain:
		p.endDrain(now, trip)
	case steady:
		p.trip = min(p.trip, trip)
		if now.Sub(p.steady) >= drainTime {
			p.phase = drain
		}
	}
	p.resize(now, written)
}

// endDrain takes the better of two rounds: in one the writer may have come late.
func (p *pipe) endDrain(now time.Time, trip time.Duration) {
	if p.drained == 0 {
		p.drained = trip
		return
	}
	trip, p.drained = min(trip, p.drained), 0
	if trip > p.trip*9/10 { // else there was a queue still
		p.phase, p.steady = steady, now
	}
	p.trip = trip
}

// gains says for each phase how much is under way, of what the path carries.
var gains = [...]float64{startup: 1.75, steady: 1.5, drain: 0.75}

// resize begins a round with the size that the buffer is to have now.
func (p *pipe) resize(now time.Time, written int) {
	size := min(int(gains[p.phase]*p.rates.best()*p.trip.Seconds()), tcpSendMax)
	switch p.phase {
	case startup:
		size = max(size, p.size)
	case steady:
		size = max(size, minSize)
	case drain:
		size = max(size, minDrained)
	}
	if p.round = (round{}); size >= p.size {
		p.round = round{now, written - p.size}
	}
	p.size = size
}

// rates are those of the last rounds, in bytes per second. Each is taken together
// with the one before: what came late in one was missing in the other.
type rates struct {
	last     float64
	old, new float64 // the best of ten rounds, and of those since
	rounds   int
}

func (r *rates) add(rate float64) {
	if r.rounds++; r.rounds > 10 {
		r.old, r.new, r.rounds = r.new, 0, 1
	}
	r.new = max(r.new, (r.last+rate)/2)
	r.last = rate
}

func (r *rates) best() float64 { return max(r.old, r.new) }
