package coord

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// What a survey asks of nodes. A ping costs the one that is asked a few packets,
// and a pair that is asleep a search for a path.
const (
	surveyInterval = 20 * time.Millisecond  // between two pings
	surveyPerNode  = 500 * time.Millisecond // between two pings of one node
	surveyAtOnce   = 4                      // pings of one node that are under way
	surveyPatience = 6 * time.Second        // nodes give up after 5 or 10
	surveyEvery    = 10 * time.Second       // for one pair
	surveyAgain    = 2 * time.Second        // once, when they did not reach each other directly
	// surveyLease is how long somebody who asked wants to know more.
	surveyLease = 15 * time.Second
	// surveyMemory is how long what was found is kept after that.
	surveyMemory = 5 * time.Minute
	// maxSurveyed bounds the pairs that are surveyed at one time.
	maxSurveyed = 1000
)

// survey finds out how nodes reach each other, while somebody wants to know: it
// decides which of two is to ping the other and when, and keeps what came of
// it. It is a value that knows no clock.
type survey struct {
	pairs  map[pair]*surveyed
	asked  map[string]asked // what was not answered yet, by its name
	nodes  map[tailcfg.NodeID]*pinging
	paused time.Time // until then nobody is asked
}

// pair is two nodes that see each other, the one with the lower ID first.
type pair struct{ a, b tailcfg.NodeID }

func pairOf(a, b tailcfg.NodeID) pair { return pair{min(a, b), max(a, b)} }

// surveyed is what is known of a pair.
type surveyed struct {
	wanted time.Time // until when somebody wants to know
	asked  time.Time // when one of the two last was
	found  finding
	missed int // how often in a row they did not reach each other directly
}

// due returns when one of the two is to ping the other.
func (p *surveyed) due() time.Time {
	if p.missed == 1 {
		return p.asked.Add(surveyAgain)
	}
	return p.asked.Add(surveyEvery)
}

// settled reports whether there was an answer after the given time that counts:
// what was not direct may be so at the second attempt, when they have looked for
// a path.
func (p *surveyed) settled(after time.Time) bool {
	return p.found.at.After(after) && p.missed != 1
}

// finding is how one node reached another, or did not.
type finding struct {
	from      tailcfg.NodeID // 0: nothing was found out yet
	at        time.Time
	latency   time.Duration
	direct    netip.AddrPort
	peerRelay string // through another node
	region    int    // of the relay
	err       string // why the node did not ping
}

// reached reports whether the ping was answered.
func (f *finding) reached() bool { return f.latency > 0 }

// asked is a ping that a node was asked for.
type asked struct {
	from, to tailcfg.NodeID
	at       time.Time
}

// pinging is what a node was asked for.
type pinging struct {
	last    time.Time
	waiting int
}

func newSurvey() survey {
	return survey{pairs: make(map[pair]*surveyed), asked: make(map[string]asked), nodes: make(map[tailcfg.NodeID]*pinging)}
}

// want has the pairs surveyed for a while, as many as there may be.
func (s *survey) want(now time.Time, pairs []pair) {
	for _, p := range pairs {
		known := s.pairs[p]
		if known == nil && len(s.pairs) >= maxSurveyed {
			s.forget(now, 0)
		}
		if known == nil && len(s.pairs) < maxSurveyed {
			known = new(surveyed)
			s.pairs[p] = known
		}
		if known != nil {
			if now.After(known.wanted) {
				known.missed = 0 // things may have changed since
			}
			known.wanted = now.Add(surveyLease)
		}
	}
}

// forget drops what nobody has wanted to know for a while.
func (s *survey) forget(now time.Time, after time.Duration) {
	for p, known := range s.pairs {
		if now.Sub(known.wanted) > after {
			delete(s.pairs, p)
		}
	}
}

// expire notes pings that were not answered in time.
func (s *survey) expire(now time.Time) (any bool) {
	for name, a := range s.asked {
		if now.Sub(a.at) >= surveyPatience {
			s.settle(name, finding{from: a.from, at: now})
			any = true
		}
	}
	for id, n := range s.nodes {
		if n.waiting == 0 && now.Sub(n.last) >= surveyPerNode {
			delete(s.nodes, id)
		}
	}
	s.forget(now, surveyMemory)
	return any
}

// next returns who is to ping whom now, if anybody, and how long it is until
// that is to be asked again; zero is until somebody wants to know something.
// reachable tells whether a node can be asked.
func (s *survey) next(now time.Time, reachable func(tailcfg.NodeID) bool) (a asked, wait time.Duration, ok bool) {
	if now.Before(s.paused) {
		return asked{}, s.paused.Sub(now), false
	}
	var best pair
	idle := len(s.asked) == 0
	for p, known := range s.pairs {
		if now.After(known.wanted) {
			continue
		}
		idle = false
		if now.Before(known.due()) || ok && !s.before(p, best) {
			continue
		}
		if from := s.asker(now, p, reachable); from != 0 {
			best, ok = p, true
			a = asked{from: from, to: p.a + p.b - from, at: now}
		}
	}
	switch {
	case ok:
		s.paused = now.Add(surveyInterval)
		return a, surveyInterval, true
	case !idle:
		return a, surveyPerNode, false
	case len(s.pairs) > 0: // to be forgotten
		return a, surveyMemory, false
	default:
		return a, 0, false
	}
}

// before reports whether p comes before q: its turn was longer ago.
func (s *survey) before(p, q pair) bool {
	return cmp.Or(s.pairs[p].asked.Compare(s.pairs[q].asked), cmp.Compare(p.a, q.a), cmp.Compare(p.b, q.b)) < 0
}

// asker returns which of the two is to ping the other: the one that has rested
// longer, unless the last attempt was its own and failed. It is 0 when neither
// can now.
func (s *survey) asker(now time.Time, p pair, reachable func(tailcfg.NodeID) bool) tailcfg.NodeID {
	first, second := p.a, p.b
	f := &s.pairs[p].found
	switch failed := f.from != 0 && !f.reached(); {
	case failed && f.from == first, !failed && s.lastOf(second).Before(s.lastOf(first)):
		first, second = second, first
	}
	for _, id := range []tailcfg.NodeID{first, second} {
		n := s.nodes[id]
		if (n == nil || n.waiting < surveyAtOnce && now.Sub(n.last) >= surveyPerNode) && reachable(id) {
			return id
		}
	}
	return 0
}

func (s *survey) lastOf(id tailcfg.NodeID) time.Time {
	if n := s.nodes[id]; n != nil {
		return n.last
	}
	return time.Time{}
}

// types returns the pings by which a is answered. To a peer that was not
// reached directly a packet is sent through the tunnel as well: that, and not
// disco alone, has nodes look for a path by all means.
func (s *survey) types(a asked) string {
	if known := s.pairs[pairOf(a.from, a.to)]; known != nil && known.missed > 0 {
		return "TSMP,disco"
	}
	return "disco"
}

// ask notes that a node was asked.
func (s *survey) ask(name string, a asked) {
	s.asked[name] = a
	n := s.nodes[a.from]
	if n == nil {
		n = new(pinging)
		s.nodes[a.from] = n
	}
	n.last = a.at
	n.waiting++
	if known := s.pairs[pairOf(a.from, a.to)]; known != nil {
		known.asked = a.at
	}
}

// answer takes over what a node says of a ping, and reports whether it was
// asked for that.
func (s *survey) answer(now time.Time, name string, from tailcfg.NodeID, resp *tailcfg.PingResponse) bool {
	a, ok := s.asked[name]
	if !ok || a.from != from || resp.Type != "disco" {
		return false
	}
	s.settle(name, findingOf(now, from, resp))
	return true
}

// settle notes what came of a ping.
func (s *survey) settle(name string, f finding) {
	a := s.asked[name]
	delete(s.asked, name)
	if n := s.nodes[a.from]; n != nil {
		n.waiting--
	}
	if known := s.pairs[pairOf(a.from, a.to)]; known != nil {
		known.found = f
		if known.missed++; f.direct.IsValid() {
			known.missed = 0
		}
	}
}

// findingOf returns what a node says that it found; of what makes no sense,
// that nothing answered.
func findingOf(now time.Time, from tailcfg.NodeID, resp *tailcfg.PingResponse) finding {
	f := finding{from: from, at: now}
	if resp.Err != "" || !(resp.LatencySeconds > 0 && resp.LatencySeconds < 60) {
		f.err = cut(resp.Err)
		return f
	}
	latency := max(1, time.Duration(resp.LatencySeconds*float64(time.Second)))
	switch direct, err := netip.ParseAddrPort(resp.Endpoint); {
	case err == nil && direct.Addr().Zone() == "":
		f.direct, f.latency = direct, latency
	case resp.PeerRelay != "":
		relay, _, _ := strings.Cut(resp.PeerRelay, ":vni:")
		f.peerRelay, f.latency = cut(relay), latency
	case resp.DERPRegionID > 0 && resp.DERPRegionID <= maxRegion:
		f.region, f.latency = resp.DERPRegionID, latency
	}
	return f
}
