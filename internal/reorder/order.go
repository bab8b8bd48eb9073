package reorder

import "time"

const (
	// A packet waits for an earlier one a little longer than late ones have been
	// late, within these bounds, and at first the longest. TCP does not mind that.
	minPatience = time.Millisecond
	maxPatience = 10 * time.Millisecond

	// memory is how many late packets there are until the latest is forgotten, or
	// twice as many.
	memory = 1000

	// far is by how much a counter may differ from the one that is expected.
	far = 1 << 12
)

// Holding pays as long as trust is left: a late packet adds trustLate, up to
// maxTrust, and one that never comes takes 1 away. So packets are held where more
// than one of eight that are missing is merely late, and in the beginning: what a
// sender loses of its rate then it is slow to regain.
const (
	trustLate = 8
	maxTrust  = 64
)

// order is what is known of the order of a session's packets.
type order struct {
	index uint32
	begun bool   // there was a packet
	next  uint64 // the counter that is expected

	missing gap // the last that was not waited for, or not long enough
	trust   int
	latest  latest
}

// A gap is the counters from first to before end. The one at end came at since.
type gap struct {
	first, end uint64
	since      time.Time
}

// place is where a packet stands.
type place int

const (
	inTurn  place = iota // it is the expected one
	early                // it is to wait for others
	past                 // it is not to wait: those after it have gone on
	strange              // it is the first, or far from all that came before
)

// place says where the packet with a counter stands, and learns from it. Packets
// are held since then, unless that is zero.
func (o *order) place(now time.Time, counter uint64, since time.Time) place {
	switch {
	case !o.begun || counter > o.next && counter-o.next > far || counter < o.next && o.next-counter > far:
		return strange
	case counter < o.next:
		if o.missing.first <= counter && counter < o.missing.end {
			o.late(now.Sub(o.missing.since))
		}
		return past
	case counter == o.next:
		if !since.IsZero() {
			o.late(now.Sub(since))
		}
		return inTurn
	case o.trust == 0 && since.IsZero():
		o.skip(now, counter)
		return inTurn
	}
	return early
}

// begin expects a counter, whatever was before.
func (o *order) begin(counter uint64) {
	if !o.begun {
		*o = order{index: o.index, begun: true, trust: trustLate, latest: latest{old: maxPatience}}
	}
	o.next = counter
}

// skip waits no more for what is missing before a counter, which came at since.
func (o *order) skip(since time.Time, counter uint64) {
	o.missing = gap{o.next, counter, since}
	o.next = counter
	o.trust = max(0, o.trust-1)
}

// late learns that a packet came so much after a later one.
func (o *order) late(by time.Duration) {
	if by > maxPatience {
		return // it cannot be waited for
	}
	o.trust = min(o.trust+trustLate, maxTrust)
	o.latest.add(by)
}

// patience is how long a packet waits.
func (o *order) patience() time.Duration {
	by := max(o.latest.old, o.latest.new)
	return min(max(by+by/2, minPatience), maxPatience)
}

// latest is by how much packets have been late at most: memory packets long ago,
// and since.
type latest struct {
	old, new time.Duration
	count    int
}

func (l *latest) add(by time.Duration) {
	if l.count++; l.count > memory {
		*l = latest{old: l.new, count: 1}
	}
	l.new = max(l.new, by)
}
