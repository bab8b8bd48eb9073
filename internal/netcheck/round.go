package netcheck

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

const (
	stunPhase = 3 * time.Second

	retryAfter = 100 * time.Millisecond // at least
	triesFull  = 3
	triesHome  = 4 // so that one lost packet does not look like a lost home
	triesOther = 2

	enoughRegions = 3
	hurryAtLeast  = 50 * time.Millisecond
	hurryFamily   = 300 * time.Millisecond // while a family is missing

	// pickAtLeast is how long after all regions were asked the first home is
	// chosen, at the least.
	pickAtLeast = 100 * time.Millisecond
)

// round is one attempt to find out everything.
type round struct {
	full  bool
	home  int   // when it began
	can   []int // regions that can be home
	began time.Time
	until time.Time // answers of STUN are awaited

	series    []*series
	questions map[stun.TxID]*question
	hurried   bool      // until has been shortened
	asked     time.Time // when the last series was begun; zero before
	stunDone  bool      // no more answers of STUN are awaited

	in      tally
	latency map[int]Latency // by region
	views   []view          // one of each answer
	https   secure

	first  time.Time // the first answer of a region that can be home
	picked bool      // the first home was chosen, if one was missing
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
		r.in.asks.add(false)
		r.series = append(r.series, &s4)
	}
	if n.IPv6 && len(reg.nodes6) > 0 {
		s6 := s
		s6.nodes, s6.ipv6 = reg.nodes6, true
		r.in.asks.add(true)
		r.series = append(r.series, &s6)
	}
}

// nextSeries returns the series whose turn is next, or nil.
func (r *round) nextSeries() (next *series) {
	if r.stunDone {
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
	if !slices.ContainsFunc(r.series, func(s *series) bool { return s.tries == 0 }) && r.asked.IsZero() {
		r.asked = now
	}
	return p
}

func (r *round) sent(now time.Time, tx stun.TxID, to netip.AddrPort, order int) {
	q := r.questions[tx]
	if q == nil || !to.IsValid() {
		return
	}
	q.to, q.sent, q.order = to, now, order
	r.in.sent.add(q.ipv6)
}

func (r *round) failed(tx stun.TxID) {
	if q := r.questions[tx]; q != nil {
		q.open--
		delete(r.questions, tx)
	}
}

// answer takes an answer, and reports whether it is one.
func (r *round) answer(now time.Time, tx stun.TxID, from, mapped netip.AddrPort) (view, bool) {
	q := r.questions[tx]
	if q == nil || !q.to.IsValid() || q.to != from || !isPublic(mapped) {
		return view{}, false
	}
	delete(r.questions, tx)
	q.open--
	q.done = true
	took := max(1, now.Sub(q.sent))
	l := r.latency[q.region]
	r.in.answered.add(q.ipv6)
	if q.ipv6 {
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

// measured takes the result of an HTTPS request.
func (r *round) measured(p HTTPSProbe, latency time.Duration, ok bool) {
	if !p.round.Equal(r.began) || !r.https.take(p.Region) || !ok || latency <= 0 || latency > httpsPhase {
		return
	}
	l := r.latency[p.Region]
	l.HTTPS = latency
	r.latency[p.Region] = l
}

// tick moves the round on, and returns the regions that are to be measured
// over HTTPS.
func (r *round) tick(now time.Time) (probes []HTTPSProbe) {
	if r.first.IsZero() && r.answeredAny() {
		r.first = now
	}
	r.hurry(now)
	r.stunDone = r.stunDone || r.stunOver(now)
	if !r.https.begun && r.needsHTTPS() && !now.Before(r.httpsAt()) {
		r.https.begin(now, r.can)
	}
	for _, id := range r.https.next(now) {
		probes = append(probes, HTTPSProbe{id, r.began})
	}
	return probes
}

// answeredAny reports whether a region has answered that can be home.
func (r *round) answeredAny() bool {
	return slices.ContainsFunc(r.can, func(id int) bool { return r.latency[id].best() != 0 })
}

// answeredSTUN reports whether one has, and to STUN.
func (r *round) answeredSTUN() bool {
	return slices.ContainsFunc(r.can, func(id int) bool { return r.latency[id].stun() != 0 })
}

// needsHTTPS reports whether there is a home to be chosen, and no answer of
// STUN to choose it by.
func (r *round) needsHTTPS() bool { return r.full && len(r.can) > 1 && !r.answeredSTUN() }

// httpsAt returns when HTTPS is needed, if it is.
func (r *round) httpsAt() time.Time {
	switch early := r.began.Add(httpsAfter); {
	case r.stunDone:
		return r.began
	case r.home == 0:
		return earliest(r.until, early)
	default:
		return r.until
	}
}

// pickAt returns when the answers so far are good enough to choose the first
// home by: all regions have been asked for twice the time that the first answer
// took. A region that is nearer has answered by then, unless a packet got lost.
// Zero is not yet, or no more.
func (r *round) pickAt() time.Time {
	asked := r.asked
	if !r.answeredSTUN() {
		asked = r.https.asked
	}
	if r.picked || r.first.IsZero() || asked.IsZero() {
		return time.Time{}
	}
	return asked.Add(max(2*r.first.Sub(asked), pickAtLeast))
}

// hurry shortens the first phase when enough regions have answered: any other
// is farther away.
func (r *round) hurry(now time.Time) {
	if r.hurried || !r.enough() {
		return
	}
	r.hurried = true
	var slowest time.Duration
	for _, l := range r.latency {
		slowest = max(slowest, l.stun())
	}
	if r.full {
		slowest *= 2
	}
	wait := max(slowest, hurryAtLeast)
	if r.in.misses() {
		wait = max(wait, hurryFamily)
	}
	r.until = earliest(r.until, now.Add(wait))
}

// enough reports whether all regions have been asked, and enough of them have
// answered, the home among them.
func (r *round) enough() bool {
	regions, answered := make(map[int]bool), 0
	for _, s := range r.series {
		if s.tries == 0 {
			return false
		}
		if !regions[s.region] && r.latency[s.region].stun() != 0 {
			answered++
		}
		regions[s.region] = true
	}
	if regions[r.home] && r.latency[r.home].stun() == 0 {
		return false
	}
	return answered > 0 && answered >= min(enoughRegions, len(regions))
}

// stunOver reports whether no more answers are awaited.
func (r *round) stunOver(now time.Time) bool {
	return !now.Before(r.until) || !slices.ContainsFunc(r.series, func(s *series) bool { return !s.settled() })
}

// over reports whether the round is over; tick has been called before.
func (r *round) over(now time.Time) bool {
	return r.stunDone && (!r.https.begun || !r.needsHTTPS() || r.https.over(now))
}

// deadline returns when the round wants to move on. Nothing is sent before
// paced.
func (r *round) deadline(paced time.Time) (at time.Time) {
	if next := r.nextSeries(); next != nil {
		if at = next.due; at.Before(paced) {
			at = paced
		}
	}
	switch {
	case !r.stunDone:
		at = earliest(at, r.until)
		if r.needsHTTPS() && !r.https.begun {
			at = earliest(at, r.httpsAt())
		}
	case r.https.begun:
		at = earliest(at, r.https.until)
	}
	return at
}
