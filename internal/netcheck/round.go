package netcheck

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

const (
	stunPhase  = 3 * time.Second
	httpsPhase = 5 * time.Second
	maxHTTPS   = 16 // at the same time

	retryAfter = 100 * time.Millisecond // at least
	triesFull  = 3
	triesHome  = 4 // so that one lost packet does not look like a lost home
	triesOther = 2

	enoughRegions = 3
	hurryAtLeast  = 50 * time.Millisecond
)

// round is one attempt to find out everything.
type round struct {
	full  bool
	home  int // when it began
	began time.Time
	until time.Time // the phase ends then

	series    []*series
	questions map[stun.TxID]*question
	hurried   bool // until has been shortened

	asked4, asked6 bool // a request was sent
	answered6      bool
	latency        map[int]Latency // by region
	views          []view          // one of each answer

	https   bool  // the second phase has begun
	waiting []int // regions to be measured over HTTPS, but not yet
	asking  []int // those that are
	can     []int // those that might be
}

// series is the attempts to get one answer of a region in a family.
type series struct {
	region int
	ipv6   bool
	nodes  []*derpmap.Node // asked in turn
	tries  int             // so far
	left   int
	open   int // questions without an answer
	due    time.Time
	gap    time.Duration
	done   bool // it was answered
}

// question is a request that was handed to the driver.
type question struct {
	*series
	to    netip.AddrPort // invalid until it was sent
	sent  time.Time
	order int // among all that were sent
}

// view is how a server sees us.
type view struct {
	server, mapped netip.AddrPort
	latency        time.Duration
	order          int
}

func newRound(now time.Time, full bool, home int) *round {
	return &round{
		full:      full,
		home:      home,
		began:     now,
		until:     now.Add(stunPhase),
		questions: make(map[stun.TxID]*question),
		latency:   make(map[int]Latency),
	}
}

// add has the round ask a region.
func (r *round) add(now time.Time, reg region, n Network, latencies history) {
	if reg.home {
		r.can = append(r.can, reg.id)
	}
	tries := triesOther
	switch {
	case r.full:
		tries = triesFull
	case reg.id == r.home:
		tries = triesHome
	}
	s := series{
		region: reg.id,
		left:   tries,
		due:    now,
		gap:    max(retryAfter, latencies.best(reg.id)*6/5),
	}
	if n.IPv4 && len(reg.nodes4) > 0 {
		s4 := s
		s4.nodes = reg.nodes4
		r.series = append(r.series, &s4)
	}
	if n.IPv6 && len(reg.nodes6) > 0 {
		s6 := s
		s6.nodes, s6.ipv6 = reg.nodes6, true
		r.series = append(r.series, &s6)
	}
}

// nextSeries returns the series whose turn is next, or nil.
func (r *round) nextSeries() (next *series) {
	if r.https {
		return nil
	}
	for _, s := range r.series {
		if s.pending() && (next == nil || s.due.Before(next.due)) {
			next = s
		}
	}
	return next
}

// pending reports whether there is something to ask.
func (s *series) pending() bool { return !s.done && s.left > 0 }

// settled reports whether there is nothing to wait for.
func (s *series) settled() bool { return s.done || s.left == 0 && s.open == 0 }

// ask makes the next request of a series.
func (r *round) ask(now time.Time, s *series) Probe {
	tx := stun.NewTxID()
	r.questions[tx] = &question{series: s}
	p := Probe{Region: s.region, Node: s.nodes[s.tries%len(s.nodes)], IPv6: s.ipv6, TxID: tx}
	s.tries++
	s.open++
	s.left--
	s.due = now.Add(s.gap)
	return p
}

func (r *round) sent(now time.Time, tx stun.TxID, to netip.AddrPort, order int) {
	q := r.questions[tx]
	if q == nil || !to.IsValid() {
		return
	}
	q.to, q.sent, q.order = to, now, order
	r.asked4 = r.asked4 || !q.ipv6
	r.asked6 = r.asked6 || q.ipv6
}

func (r *round) failed(tx stun.TxID) {
	if q := r.questions[tx]; q != nil {
		q.open--
		delete(r.questions, tx)
	}
}

// answered takes an answer, and reports whether it is one.
func (r *round) answered(now time.Time, tx stun.TxID, from, mapped netip.AddrPort) (view, bool) {
	q := r.questions[tx]
	if q == nil || !q.to.IsValid() || q.to != from || !isPublic(mapped) {
		return view{}, false
	}
	delete(r.questions, tx)
	q.open--
	q.done = true
	took := max(1, now.Sub(q.sent))
	l := r.latency[q.region]
	if q.ipv6 {
		r.answered6 = true
		l.IPv6 = smaller(l.IPv6, took)
	} else {
		l.IPv4 = smaller(l.IPv4, took)
	}
	r.latency[q.region] = l
	v := view{q.to, mapped, took, q.order}
	r.views = append(r.views, v)
	return v, true
}

// isPublic reports whether somebody could send to an address.
func isPublic(a netip.AddrPort) bool {
	ip := a.Addr()
	return ip.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip.Zone() == ""
}

// smaller returns the smaller of two latencies, of which zero is unknown.
func smaller(a, b time.Duration) time.Duration { return Latency{IPv4: a, IPv6: b}.best() }

// measured takes the result of an HTTPS request.
func (r *round) measured(region int, latency time.Duration, ok bool) {
	at := slices.Index(r.asking, region)
	if at < 0 {
		return
	}
	r.asking = slices.Delete(r.asking, at, at+1)
	if ok && latency > 0 && latency <= httpsPhase {
		r.latency[region] = Latency{HTTPS: latency}
	}
}

// tick moves on from phase to phase, and returns the regions that are to be
// measured over HTTPS.
func (r *round) tick(now time.Time) (https []int) {
	if !r.https {
		r.hurry(now)
		if !r.stunOver(now) || !r.needsHTTPS() {
			return nil
		}
		r.https, r.waiting, r.until = true, r.can, now.Add(httpsPhase)
	}
	room := min(len(r.waiting), maxHTTPS-len(r.asking))
	https, r.waiting = r.waiting[:room], r.waiting[room:]
	r.asking = append(r.asking, https...)
	return slices.Clone(https)
}

// needsHTTPS reports whether there is a home to be chosen, and nothing to
// choose it by.
func (r *round) needsHTTPS() bool { return r.full && len(r.views) == 0 && len(r.can) > 1 }

// hurry shortens the first phase when enough regions have answered: any other
// is farther away.
func (r *round) hurry(now time.Time) {
	if r.hurried || !r.enough() {
		return
	}
	r.hurried = true
	var slowest time.Duration
	for _, l := range r.latency {
		slowest = max(slowest, l.best())
	}
	if r.full {
		slowest *= 2
	}
	r.until = earliest(r.until, now.Add(max(slowest, hurryAtLeast)))
}

// enough reports whether all regions have been asked, and enough of them have
// answered, the home among them.
func (r *round) enough() bool {
	regions := make(map[int]bool)
	for _, s := range r.series {
		if s.tries == 0 {
			return false
		}
		regions[s.region] = true
	}
	if regions[r.home] && r.latency[r.home].best() == 0 {
		return false
	}
	return len(r.latency) > 0 && len(r.latency) >= min(enoughRegions, len(regions))
}

// stunOver reports whether no more answers are awaited.
func (r *round) stunOver(now time.Time) bool {
	return !now.Before(r.until) || !slices.ContainsFunc(r.series, func(s *series) bool { return !s.settled() })
}

// over reports whether the round is over; tick has been called before.
func (r *round) over(now time.Time) bool {
	if r.https {
		return !now.Before(r.until) || len(r.asking) == 0
	}
	return r.stunOver(now)
}

// deadline returns when the round wants to move on. Nothing is sent before
// paced.
func (r *round) deadline(paced time.Time) time.Time {
	next := r.nextSeries()
	if next == nil {
		return r.until
	}
	due := next.due
	if due.Before(paced) {
		due = paced
	}
	return earliest(r.until, due)
}
