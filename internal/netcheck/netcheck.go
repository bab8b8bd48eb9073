// Package netcheck finds out about the network that a node is in: its public
// addresses, whether its NAT is a hard one, and which relay region is nearest,
// its home.
//
// A [State] decides; it has no clock and no socket. Its driver is one
// goroutine, which tells it what happens, then calls [State.Tick], does what
// the [Output] says, and calls again at [State.Deadline]:
//
//	SetMap, SetNetwork, SetActive, Refresh ──► State ──► Output.Probes  STUN requests, from the socket of direct paths
//	HandleSent, HandleFailed, HandleResponse ─►      ──► Output.HTTPS   latencies to be measured without UDP
//	HandleProbe, HandleRelay, HandleFrame ───►       ──► Report         what is known
//
// It works in rounds. One begins when the map or the network changes, and while
// the node is active every 20 to 26 seconds, which keeps the mappings of NATs
// alive, too. A full round asks all regions, and is due after five minutes;
// the others ask the three nearest and the home:
//
//	0         STUN requests to every region asked, in both families, again
//	          after 100 ms and more, until one is answered
//	0.3 s     a node that has no home, nor an answer, measures over HTTPS, too
//	≤ 3 s     the answers are in, or as many as can matter
//	≤ 8 s     if none came, and the round is full: HTTPS instead
//	          addresses, latencies and home are those of this round
//
// The first home is not kept waiting for all that: it is chosen when the first
// answer is in, and others have had twice its time.
//
// Timings and the rule for the home are those of Tailscale v1.102.5
// (net/netcheck), so that nodes of both kinds come to the same conclusions.
package netcheck

import (
	"maps"
	"net/netip"
	"reflect"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

// Requests leave in bursts, so that no map makes a flood: at most 200 in a
// second.
const (
	burst = 10
	pace  = 50 * time.Millisecond
)

// State is what a node knows of its network, and what it does to know more. It
// is not safe for concurrent use. Times that it is given never go back.
type State struct {
	network  Network
	regions  []region // of the map, those that matter, by ID
	scores   map[int]float64
	schedule schedule
	paced    time.Time // no request is sent before
	sent     int       // requests so far
	round    *round    // nil between rounds

	home      home
	homeless  time.Time // when a map came, and there was no home yet
	latencies history
	addresses addresses
	findings  findings
	told      facts // what the driver was told last
}

// Network says over what UDP can be sent: there is a socket, and an address of
// the host that is more than a loopback. In a browser it is the zero Network.
type Network struct {
	IPv4, IPv6 bool
	// HasIPv6 says that the host speaks IPv6, be it with nobody but itself.
	HasIPv6 bool
}

func (n Network) hasIPv6() bool { return n.HasIPv6 || n.IPv6 }

// findings is what the rounds found out beside addresses and latencies.
type findings struct {
	at                       time.Time // when the last round ended
	udp, ipv4, ipv6, mapping Answer
	hasIPv6                  bool // of the network that they are about
	doubted                  bool // they are those of another
}

// Output is what a driver has to do.
type Output struct {
	// Probes are STUN requests to be sent. What became of each is told by
	// HandleSent or HandleFailed, after which Tick may have more to do.
	Probes []Probe
	// HTTPS are regions whose latency is to be measured over HTTPS, at the same
	// time. The results go to HandleProbe, within five seconds.
	HTTPS []HTTPSProbe
	// Changed is true when Report has news for the coordinator and for peers,
	// which latencies alone are not.
	Changed bool
}

// New returns a State that asks nobody until it has a map.
func New() *State {
	return &State{latencies: make(history)}
}

// SetMap says which relays there are, and how the coordinator wants the home
// chosen. It begins a full round if that is news, which it seldom is: a map
// comes along with everything else that the coordinator says. It must not be
// modified afterwards. Of a map the first 64 regions are measured, those that
// can be home before others.
func (s *State) SetMap(now time.Time, m *derpmap.Map) {
	regions, scores := regionsOf(m), scoresOf(m)
	if reflect.DeepEqual(regions, s.regions) && maps.Equal(scores, s.scores) {
		return
	}
	s.regions, s.scores = regions, scores
	s.latencies.keep(s.regions)
	if s.home.region == 0 {
		s.homeless = now
	}
	s.restart(now)
}

// SetNetwork says that the network changed, or that it may have, and begins a
// full round. Public addresses that the round does not find again are
// forgotten when it ends.
func (s *State) SetNetwork(now time.Time, n Network) {
	s.network = n
	s.latencies = make(history)
	s.addresses.doubt()
	s.findings.doubted = true
	s.restart(now)
}

// restart begins a full round now, in place of one that runs.
func (s *State) restart(now time.Time) {
	s.round = nil
	s.schedule.request(now, true)
}

// SetActive says whether the node exchanges data with anybody. While it does
// not, there are no rounds but those that are asked for.
func (s *State) SetActive(active bool) { s.schedule.active = active }

// Refresh begins a round, unless one runs: somebody is about to be told our
// addresses. Rounds begin at least a second apart.
func (s *State) Refresh(now time.Time) {
	if s.round == nil {
		s.schedule.request(now, false)
	}
}

// HandleSent says that a request was sent to an address now. Looking up the
// name may have taken a while: latencies count from here.
func (s *State) HandleSent(now time.Time, tx stun.TxID, to netip.AddrPort) {
	if s.round == nil {
		return
	}
	s.sent++
	s.round.sent(now, tx, unmap(to), s.sent)
}

// HandleFailed says that a request could not be sent: the name has no address
// of the family, or the network does not want it.
func (s *State) HandleFailed(tx stun.TxID) {
	if s.round != nil {
		s.round.failed(tx)
	}
}

// HandleResponse says that a server answered a request, and where it saw us. A
// response that is not one to a request of this round, from the address that
// this was sent to, changes nothing.
func (s *State) HandleResponse(now time.Time, tx stun.TxID, from, mapped netip.AddrPort) {
	if s.round == nil {
		return
	}
	v, ok := s.round.answer(now, tx, unmap(from), unmap(mapped))
	if !ok {
		return
	}
	s.findings.udp = Yes
	if s.round.in.answered.v4 {
		s.findings.ipv4 = Yes
	}
	if s.round.in.answered.v6 {
		s.findings.ipv6 = Yes
	}
	s.addresses.saw(now, v)
}

// HandleProbe says how long a region took to answer over HTTPS, or with
// false that it did not. What another round wanted to know changes nothing.
func (s *State) HandleProbe(p HTTPSProbe, latency time.Duration, ok bool) {
	if s.round != nil {
		s.round.measured(p, latency, ok)
	}
}

// HandleRelay says whether we are connected to a relay of a region, from now
// on.
func (s *State) HandleRelay(now time.Time, region int, connected bool) {
	s.home.setConnected(now, region, connected)
}

// HandleFrame says that a relay of a region sent something. For regions other
// than the home it need not be called, nor more often than once a second.
func (s *State) HandleFrame(now time.Time, region int) { s.home.hear(now, region) }

// Tick does what is due now. It is to be called after other calls, too.
func (s *State) Tick(now time.Time) (out Output) {
	if s.round == nil {
		s.begin(now)
	}
	if s.round != nil {
		out.HTTPS = s.round.tick(now)
		if s.round.over(now) {
			s.end(now)
		} else {
			out.Probes = s.probes(now)
			s.pick(now)
		}
	}
	s.home.settle(now, s.candidates(), s.measuring(now))
	if f := s.facts(); !f.equal(s.told) {
		s.told, out.Changed = f, true
	}
	return out
}

// Deadline returns when Tick is to be called at the latest; the zero time is
// never. After Tick it lies in the future.
func (s *State) Deadline() time.Time {
	candidates := s.candidates()
	at := s.home.deadline(len(candidates))
	if s.home.region == 0 && len(candidates) > 0 {
		if s.round == nil || s.round.first.IsZero() {
			at = earliest(at, s.homeless.Add(s.patience()))
		} else {
			at = earliest(at, s.round.pickAt())
		}
	}
	if s.round == nil {
		return earliest(at, s.schedule.next())
	}
	return earliest(at, s.round.deadline(s.paced))
}

// begin begins a round if one is due.
func (s *State) begin(now time.Time) {
	full, due := s.schedule.begin(now)
	if !due {
		return
	}
	asked := s.regions
	if !full {
		asked = nearest(s.regions, s.latencies, s.home.region)
	}
	s.round = newRound(now, full, s.home.region)
	s.round.in.known = families{full || s.findings.ipv4 == Yes, full || s.findings.ipv6 == Yes}
	for _, r := range asked {
		s.round.add(now, r, s.network, s.latencies)
	}
}

// probes returns the requests that are due.
func (s *State) probes(now time.Time) (probes []Probe) {
	if now.Before(s.paced) {
		return nil
	}
	for len(probes) < burst {
		next := s.round.nextSeries()
		if next == nil || now.Before(next.due) {
			break
		}
		probes = append(probes, s.round.ask(now, next))
	}
	if len(probes) > 0 {
		s.paced = now.Add(pace)
	}
	return probes
}

// end draws the conclusions from a round that is over.
func (s *State) end(now time.Time) {
	r := s.round
	s.round = nil
	s.schedule.ended(now)
	s.findings.at = now
	s.findings.conclude(r, s.network)
	s.addresses.conclude(now, r.views)
	for id, l := range r.latency {
		s.latencies.add(now, id, l)
	}
	s.latencies.prune(now)
	s.chooseBy(now, r)
}

// pick chooses the first home as soon as a round says enough.
func (s *State) pick(now time.Time) {
	at := s.round.pickAt()
	if s.home.region != 0 || at.IsZero() || now.Before(at) {
		return
	}
	s.round.picked = true
	s.chooseBy(now, s.round)
}

// chooseBy chooses the home by what a round says.
func (s *State) chooseBy(now time.Time, r *round) {
	candidates := s.candidates()
	for i := range candidates {
		c := &candidates[i]
		c.current = s.scored(c.id, r.latency[c.id].best())
		c.recent = smaller(c.recent, c.current)
	}
	s.home.choose(now, r.began, candidates)
}

// conclude takes from a round what it says about UDP and NATs. What it says
// nothing about stays as it was.
func (f *findings) conclude(r *round, n Network) {
	if len(r.views) == 0 && (r.in.sent != families{} || !n.IPv4 && !n.IPv6) {
		f.udp = No
	}
	if !r.in.answered.v4 && (r.full && r.in.asks.v4 || !n.IPv4) {
		f.ipv4 = No
	}
	if !r.in.answered.v6 && (r.full && r.in.asks.v6 || !n.IPv6) {
		f.ipv6 = No
	}
	if varies := mappingVaries(r.views); varies != Unknown || f.doubted {
		f.mapping = varies
	}
	f.hasIPv6, f.doubted = n.hasIPv6(), false
}

const (
	// firstAnswer is how long a node without a home waits for the first answer
	// of a region before it takes any.
	firstAnswer = time.Second
	// firstHTTPS is how long it does while regions are measured over HTTPS. A
	// relay that does not answer to that could not be connected to either.
	firstHTTPS = 3 * time.Second
)

// patience returns how long a node without a home waits for the first answer.
func (s *State) patience() time.Duration {
	if s.round != nil && len(s.round.https.asking) > 0 {
		return firstHTTPS
	}
	return firstAnswer
}

// measuring reports whether a round will soon say which region is nearest.
func (s *State) measuring(now time.Time) bool {
	switch {
	case s.round != nil && !s.round.first.IsZero():
		return !s.round.picked
	case s.round == nil && s.schedule.requested.IsZero():
		return false
	}
	return now.Before(s.homeless.Add(s.patience()))
}

// candidates returns the regions that can be home, by ID, with what is known
// of each.
func (s *State) candidates() (all []candidate) {
	for _, r := range s.regions {
		if r.home {
			all = append(all, candidate{id: r.id, recent: s.scored(r.id, s.latencies.best(r.id))})
		}
	}
	return all
}

// scored returns a latency as the coordinator wants it compared.
func (s *State) scored(id int, latency time.Duration) time.Duration {
	score, ok := s.scores[id]
	if !ok || latency == 0 {
		return latency
	}
	return max(1, time.Duration(float64(latency)*score))
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
