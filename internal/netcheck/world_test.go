package netcheck

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

// world is a driver with an invented clock, on an invented network.
type world struct {
	t     *testing.T
	s     *State
	start time.Time
	now   time.Time

	// What a test may set. Servers that have no latency do not answer.
	servers map[string]time.Duration // by node name; both families
	https   map[int]time.Duration    // by region
	nat4    func(server netip.AddrPort) netip.AddrPort
	noRoute func(p Probe) bool // sending fails
	lossy   func(p Probe) bool
	nat6    func(p Probe) netip.AddrPort
	slow    func(p Probe) time.Duration // how much later it is answered
	down    map[int]bool                // relays that cannot be connected to

	queue  []event
	probes []Probe // all that were sent
	sentAt []time.Time
	asked  []int // over HTTPS
	news   int
}

type event struct {
	at time.Time
	do func()
}

var (
	our4  = netip.MustParseAddrPort("203.0.113.7:41641")
	our6  = netip.MustParseAddrPort("[2001:db8::7]:41641")
	dual  = Network{IPv4: true, IPv6: true}
	only4 = Network{IPv4: true}
	only6 = Network{IPv6: true}
)

func newWorld(t *testing.T) *world {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &world{
		t:       t,
		s:       New(),
		start:   start,
		now:     start,
		servers: make(map[string]time.Duration),
		https:   make(map[int]time.Duration),
		down:    make(map[int]bool),
		nat4:    func(netip.AddrPort) netip.AddrPort { return our4 },
		nat6:    func(Probe) netip.AddrPort { return our6 },
		slow:    func(Probe) time.Duration { return 0 },
	}
}

// regionMap has a region of one node each, which answers after the latency.
func (w *world) regionMap(latencies map[int]time.Duration) *derpmap.Map {
	m := &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
	for id, latency := range latencies {
		name := nodeName(id)
		m.Regions[id] = &derpmap.Region{RegionID: id, Nodes: []*derpmap.Node{{Name: name, RegionID: id, HostName: name + ".test"}}}
		w.servers[name] = latency
	}
	return m
}

func nodeName(region int) string { return string(rune('a' + region - 1)) }

// address is that of a server, made up from its name.
func address(p Probe) netip.AddrPort {
	_, port := p.Server()
	if p.IPv6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: p.Node.Name[0]}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, p.Node.Name[0]}), port)
}

func (w *world) at(after time.Duration, do func()) {
	w.queue = append(w.queue, event{w.now.Add(after), do})
}

// tick does what the driver does after every event.
func (w *world) tick() {
	w.t.Helper()
	for again := true; again; {
		out := w.s.Tick(w.now)
		if out.Changed {
			w.news++
		}
		if id := w.s.Report().Home; id != 0 && !w.down[id] {
			w.s.HandleRelay(w.now, id, true)
		}
		for _, p := range out.Probes {
			w.send(p)
		}
		for _, p := range out.HTTPS {
			w.measure(p)
		}
		again = len(out.Probes) > 0 // which may have failed
	}
	if d := w.s.Deadline(); !d.IsZero() && !d.After(w.now) {
		w.t.Fatalf("the deadline did not move on: %v after the start, at %v", d.Sub(w.start), w.now.Sub(w.start))
	}
}

// measure has a relay answer over HTTPS, or fail.
func (w *world) measure(p HTTPSProbe) {
	w.asked = append(w.asked, p.Region)
	d, ok := w.https[p.Region]
	w.at(4*d, func() { w.s.HandleProbe(p, d, ok) }) // connecting, TLS, and the request
}

func (w *world) send(p Probe) {
	w.probes = append(w.probes, p)
	w.sentAt = append(w.sentAt, w.now)
	if w.noRoute != nil && w.noRoute(p) {
		w.s.HandleFailed(p.TxID)
		return
	}
	server := address(p)
	w.s.HandleSent(w.now, p.TxID, server)
	latency := w.servers[p.Node.Name]
	if latency == 0 || w.lossy != nil && w.lossy(p) {
		return
	}
	mapped := w.nat6(p)
	if !p.IPv6 {
		mapped = w.nat4(server)
	}
	w.at(latency+w.slow(p), func() { w.s.HandleResponse(w.now, p.TxID, server, mapped) })
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	until := w.now.Add(d)
	w.tick()
	for steps := 0; ; steps++ {
		if steps > 100_000 {
			w.t.Fatal("the clock stands still")
		}
		next := until
		if d := w.s.Deadline(); !d.IsZero() && d.Before(next) {
			next = d
		}
		first := -1
		for i, e := range w.queue {
			if e.at.Before(next) || first < 0 && !e.at.After(next) {
				first, next = i, e.at
			}
		}
		w.now = next
		if first >= 0 {
			e := w.queue[first]
			w.queue = slices.Delete(w.queue, first, first+1)
			e.do()
		} else if !w.now.Before(until) {
			w.tick()
			return
		}
		w.tick()
	}
}

// forget makes the next checks begin from here.
func (w *world) forget() { w.probes, w.sentAt, w.asked, w.news = nil, nil, nil, 0 }

// regionsProbed returns how many requests went to each region.
func (w *world) regionsProbed() map[int]int {
	n := make(map[int]int)
	for _, p := range w.probes {
		n[p.Region]++
	}
	return n
}

func (w *world) check(what string, ok bool) {
	w.t.Helper()
	if !ok {
		w.t.Errorf("%s: not so, %v after the start\nreport %+v", what, w.now.Sub(w.start), w.s.Report())
	}
}

func (w *world) wantHome(what string, want int) {
	w.t.Helper()
	if got := w.s.Report().Home; got != want {
		w.t.Errorf("%s: home is %d, want %d", what, got, want)
	}
}

func (w *world) wantEndpoints(what string, want ...netip.AddrPort) {
	w.t.Helper()
	var got []netip.AddrPort
	for _, e := range w.s.Report().Endpoints {
		got = append(got, e.Addr)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: endpoints are %v, want %v", what, got, want)
	}
}

const ms = time.Millisecond

// begin brings the world up with a map.
func (w *world) begin(n Network, m *derpmap.Map) {
	w.t.Helper()
	w.s.SetNetwork(w.now, n)
	w.s.SetMap(w.now, m)
	w.tick()
}

// anyTx is one that nobody asked with.
var anyTx = stun.TxID{1, 2, 3}
