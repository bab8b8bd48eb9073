package coord

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// surveying drives a survey of nodes that answer after latency, or do not.
type surveying struct {
	t *testing.T
	survey
	now     time.Time
	serial  int
	mute    map[tailcfg.NodeID]bool // does not answer
	away    map[tailcfg.NodeID]bool // cannot be asked
	relayed map[pair]bool
	asks    []asked
	types   []string
	answers map[string]time.Time // when they come
}

func newSurveying(t *testing.T) *surveying {
	return &surveying{
		t: t, survey: newSurvey(), now: time.Unix(1_800_000_000, 0),
		mute: make(map[tailcfg.NodeID]bool), away: make(map[tailcfg.NodeID]bool),
		relayed: make(map[pair]bool), answers: make(map[string]time.Time),
	}
}

const testLatency = 30 * time.Millisecond

// run lets d pass, and returns how many pings were asked for meanwhile.
func (s *surveying) run(d time.Duration) int {
	before := len(s.asks)
	for end := s.now.Add(d); s.now.Before(end); {
		s.expire(s.now)
		a, wait, ok := s.next(s.now, func(id tailcfg.NodeID) bool { return !s.away[id] })
		if ok {
			s.serial++
			name := fmt.Sprint(s.serial)
			s.types = append(s.types, s.survey.types(a))
			s.ask(name, a)
			if s.asks = append(s.asks, a); !s.mute[a.from] {
				s.answers[name] = s.now.Add(testLatency)
			}
		}
		if wait == 0 {
			s.now = end
		}
		if len(s.answers) > 0 {
			wait = min(wait, 10*time.Millisecond)
		}
		s.now = s.now.Add(wait)
		s.deliver()
	}
	return len(s.asks) - before
}

func (s *surveying) deliver() {
	for name, at := range s.answers {
		if s.now.Before(at) {
			continue
		}
		delete(s.answers, name)
		a, ok := s.asked[name]
		if !ok {
			continue
		}
		resp := &tailcfg.PingResponse{Type: "disco", LatencySeconds: testLatency.Seconds(), Endpoint: "192.0.2.1:41641"}
		if s.relayed[pairOf(a.from, a.to)] {
			resp.Endpoint, resp.DERPRegionID = "", 7
		}
		if !s.answer(s.now, name, a.from, resp) {
			s.t.Errorf("the answer of %d is not taken", a.from)
		}
	}
}

// allOf returns the pairs of n nodes.
func allOf(n tailcfg.NodeID) (pairs []pair) {
	for a := tailcfg.NodeID(1); a <= n; a++ {
		for b := a + 1; b <= n; b++ {
			pairs = append(pairs, pair{a, b})
		}
	}
	return pairs
}

func TestSurvey(t *testing.T) {
	s := newSurveying(t)
	if s.run(time.Minute) != 0 {
		t.Error("nodes ping though nobody wants to know")
	}
	pairs := allOf(10)
	s.relayed[pair{1, 2}] = true
	s.want(s.now, pairs)
	if got := s.run(9 * time.Second); got != len(pairs)+1 {
		t.Errorf("%d pairs are asked for %d pings, want each once, and the relayed one again", len(pairs), got)
	}
	for _, p := range pairs {
		known, relayed := s.pairs[p], s.relayed[p]
		if known == nil || known.found.latency != testLatency || known.found.direct.IsValid() == relayed || (known.found.region == 7) != relayed || !known.settled(s.now.Add(-surveyEvery)) {
			t.Errorf("%v: %+v", p, known)
		}
	}
	for i, a := range s.asks {
		again := pairOf(a.from, a.to) == pair{1, 2} && i >= len(pairs)/2
		if want := map[bool]string{true: "TSMP,disco", false: "disco"}[again]; s.types[i] != want {
			t.Errorf("ping %d from %d to %d is %q, want %q", i, a.from, a.to, s.types[i], want)
		}
	}
	asked := s.run(time.Hour)
	if most := int(surveyLease/surveyEvery) * len(pairs); asked > most+1 {
		t.Errorf("%d pings after nobody wants to know any more, want %d", asked, most)
	}
	if len(s.pairs)+len(s.asked)+len(s.nodes) != 0 {
		t.Errorf("what was found is never forgotten: %d, %d, %d", len(s.pairs), len(s.asked), len(s.nodes))
	}
}

// TestSurveyIsBounded has more to find out than nodes may be asked for.
func TestSurveyIsBounded(t *testing.T) {
	s := newSurveying(t)
	s.mute[1] = true
	const took = 30 * time.Second
	for range 6 {
		s.want(s.now, allOf(60))
		s.run(took / 6)
	}
	if len(s.pairs) != maxSurveyed {
		t.Errorf("%d pairs are surveyed", len(s.pairs))
	}
	if most := int(took/surveyInterval) + 1; len(s.asks) > most || len(s.asks) < most/2 {
		t.Errorf("%d pings, want up to %d", len(s.asks), most)
	}
	last, open := make(map[tailcfg.NodeID]time.Time), make(map[tailcfg.NodeID][]time.Time)
	for _, a := range s.asks {
		if since := a.at.Sub(last[a.from]); since < surveyPerNode {
			t.Fatalf("node %d is asked again after %v", a.from, since)
		}
		last[a.from] = a.at
		if open[a.from] = append(open[a.from], a.at); a.from == 1 && len(open[1]) > surveyAtOnce &&
			a.at.Sub(open[1][len(open[1])-1-surveyAtOnce]) < surveyPatience {
			t.Fatal("a node that does not answer is asked for too much")
		}
	}
}

func TestSurveyAsksTheOther(t *testing.T) {
	s := newSurveying(t)
	s.mute[1], s.away[3] = true, true
	s.want(s.now, allOf(3))
	s.run(surveyLease)
	if f := s.pairs[pair{1, 2}].found; f.from != 2 || !f.reached() {
		t.Errorf("of two the one that does not answer is asked: %+v", f)
	}
	if f := s.pairs[pair{2, 3}].found; f.from != 2 || !f.reached() {
		t.Errorf("of two the one that cannot be asked is: %+v", f)
	}
	if known := s.pairs[pair{1, 3}]; known.found.from != 1 || known.found.reached() || known.missed < 2 {
		t.Errorf("nobody answers: %+v", known)
	}
}

func TestFindingOf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ep := netip.MustParseAddrPort("192.0.2.1:41641")
	for _, c := range []struct {
		resp tailcfg.PingResponse
		want finding
	}{
		{tailcfg.PingResponse{LatencySeconds: 0.02, Endpoint: "192.0.2.1:41641"}, finding{latency: 20 * time.Millisecond, direct: ep}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, DERPRegionID: 3}, finding{latency: 20 * time.Millisecond, region: 3}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, PeerRelay: "192.0.2.9:40000:vni:12"}, finding{latency: 20 * time.Millisecond, peerRelay: "192.0.2.9:40000"}},
		{tailcfg.PingResponse{LatencySeconds: 1e-12, DERPRegionID: 3}, finding{latency: 1, region: 3}},
		{tailcfg.PingResponse{Err: "no matching peer"}, finding{err: "no matching peer"}},
		{tailcfg.PingResponse{LatencySeconds: 0.02}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: -1, DERPRegionID: 3}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: 1e300, DERPRegionID: 3}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, DERPRegionID: -1}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, DERPRegionID: 1 << 40}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, Endpoint: "<script>"}, finding{}},
		{tailcfg.PingResponse{LatencySeconds: 0.02, Endpoint: "[fe80::1%<b>]:1"}, finding{}},
	} {
		c.want.from, c.want.at = 5, now
		if got := findingOf(now, 5, &c.resp); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v:\ngot  %+v\nwant %+v", c.resp, got, c.want)
		}
	}
}

// TestSurveyAnswers has nodes say what they were not asked for.
func TestSurveyAnswers(t *testing.T) {
	s := newSurveying(t)
	s.want(s.now, allOf(2))
	a, _, ok := s.next(s.now, func(tailcfg.NodeID) bool { return true })
	if !ok {
		t.Fatal("nobody is asked")
	}
	s.ask("name", a)
	good := tailcfg.PingResponse{Type: "disco", LatencySeconds: 1, DERPRegionID: 1}
	tsmp := good
	tsmp.Type = "TSMP"
	if s.answer(s.now, "other", a.from, &good) || s.answer(s.now, "name", a.to, &good) || s.answer(s.now, "name", a.from, &tsmp) {
		t.Error("an answer is taken that was not asked for")
	}
	if !s.answer(s.now, "name", a.from, &good) || s.answer(s.now, "name", a.from, &good) {
		t.Error("the answer is not taken, or twice")
	}
}

// TestSurveyAtRandom has nodes come and go.
func TestSurveyAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newSurveying(t)
	for range 300 {
		pairs := allOf(tailcfg.NodeID(2 + rng.IntN(12)))
		s.want(s.now, pairs[:rng.IntN(len(pairs))])
		s.mute[tailcfg.NodeID(1+rng.IntN(12))] = rng.IntN(2) == 0
		s.away[tailcfg.NodeID(1+rng.IntN(12))] = rng.IntN(2) == 0
		s.run(time.Duration(rng.Int64N(int64(20 * time.Second))))
		waiting := 0
		for _, n := range s.nodes {
			if n.waiting < 0 || n.waiting > surveyAtOnce {
				t.Fatalf("%d pings of a node are under way", n.waiting)
			}
			waiting += n.waiting
		}
		if waiting != len(s.asked) {
			t.Fatalf("%d pings are under way, %d by their nodes", len(s.asked), waiting)
		}
	}
}
