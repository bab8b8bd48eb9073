package netcheck

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

func TestTheFirstRoundFindsEverything(t *testing.T) {
	w := newWorld(t)
	w.begin(dual, w.regionMap(map[int]time.Duration{1: 80 * ms, 2: 20 * ms, 3: 50 * ms}))
	w.wantHome("before any answer", 0)
	w.run(20 * ms)
	w.wantEndpoints("addresses are told as soon as they are known", our4, our6)
	w.wantHome("the first answer does not choose the home", 0)
	w.run(60 * ms)
	w.wantHome("the nearest region is home", 2)
	r := w.s.Report()
	w.check("the round ends with the last answer", r.At.Equal(w.start.Add(80*ms)))
	w.check("UDP works", r.UDP == Yes && r.IPv6 == Yes && r.HasIPv6)
	w.check("the NAT is easy", r.MappingVaries == No)
	w.check("latencies are known", r.Latency[3] == Latency{IPv4: 50 * ms, IPv6: 50 * ms})
	w.check("one request for each region and family", len(w.probes) == 6)
	w.check("it is told in three parts: an address, another, all the rest", w.news == 3)

	info := r.NetInfo()
	want := map[string]float64{"1-v4": .08, "1-v6": .08, "2-v4": .02, "2-v6": .02, "3-v4": .05, "3-v6": .05}
	w.check("NetInfo has the latencies", maps.Equal(info.DERPLatency, want))
	w.check("NetInfo has the answers", info.PreferredDERP == 2 && *info.WorkingUDP && *info.WorkingIPv6 && *info.OSHasIPv6 && !*info.MappingVariesByDestIP)
}

func TestALostRequestIsRepeated(t *testing.T) {
	w := newWorld(t)
	m := w.regionMap(map[int]time.Duration{1: 30 * ms, 2: 20 * ms})
	tries := make(map[int]int)
	w.lossy = func(p Probe) bool { tries[p.Region]++; return p.Region == 2 && tries[2] < 3 }
	w.begin(only4, m)
	w.run(3 * time.Second)
	w.wantHome("the third try is answered", 2)
	if got := w.regionsProbed(); got[1] != 1 || got[2] != 3 {
		t.Errorf("requests by region: %v, want 1 and 3", got)
	}
	w.check("100 ms apart", w.sentAt[len(w.sentAt)-1].Equal(w.start.Add(200*ms)))
	w.check("the round ends with the last answer", w.s.Report().At.Equal(w.start.Add(220*ms)))
}

func TestASilentRegionDelaysTheRoundNoLongerThanItMatters(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 30 * ms, 2: 20 * ms, 3: 40 * ms, 4: 0}))
	w.run(3 * time.Second)
	w.check("three answers are enough: twice the slowest later it is over", w.s.Report().At.Equal(w.start.Add(120*ms)))

	w = newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 30 * ms, 2: 20 * ms, 3: 0}))
	w.run(99 * ms)
	w.wantHome("the third may be nearer, if a request to it got lost", 0)
	w.run(ms)
	w.wantHome("the first home is chosen by those that have answered", 2)
	w.run(10 * time.Second)
	w.check("two of three are not enough", w.s.Report().At.Equal(w.start.Add(stunPhase)))
	w.wantHome("nearest", 2)
}

func TestOneRegionIsHomeAtOnce(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{7: 0}))
	w.wantHome("there is no other", 7)
	w.run(10 * time.Second)
	w.check("STUN is asked nevertheless", len(w.probes) == triesFull)
	w.check("it is not measured over HTTPS", len(w.asked) == 0)
	w.check("UDP does not work", w.s.Report().UDP == No)
}

func TestRoundsBeginWhileActive(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms, 3: 30 * ms, 4: 40 * ms, 5: 50 * ms, 6: 60 * ms}))
	w.run(time.Minute)
	w.forget()

	w.run(time.Hour)
	w.check("an idle hour costs no request", len(w.probes) == 0)
	w.check("nor a wake-up", w.s.Deadline().IsZero())

	w.s.SetActive(true)
	w.run(time.Second)
	w.check("a full round is long overdue", maps.Equal(w.regionsProbed(), map[int]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1}))
	begun := w.now.Add(-time.Second)
	for range 11 {
		w.forget()
		w.run(activeEvery + activeRange)
		w.check("the three nearest are asked", maps.Equal(w.regionsProbed(), map[int]int{1: 1, 2: 1, 3: 1}) || len(w.probes) == 6)
		gap := w.sentAt[0].Sub(begun)
		w.check("after 20 seconds at least", gap >= activeEvery)
		begun = w.sentAt[len(w.sentAt)-1]
		if w.now.Sub(w.start) > time.Hour+5*time.Minute {
			break
		}
	}
	w.forget()
	w.run(3 * time.Minute)
	w.check("a full one comes within five minutes", w.regionsProbed()[6] == 1)
	w.s.SetActive(false)
	w.forget()
	w.run(time.Hour)
	w.check("idle again", len(w.probes) == 0)
}

// TestActivityThatComesAndGoes has a node exchange data with peers for moments.
func TestActivityThatComesAndGoes(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms}))
	w.run(time.Second)
	w.forget()
	for range 150 {
		w.s.SetActive(true)
		w.run(50 * ms)
		w.s.SetActive(false)
		w.run(50 * ms)
	}
	w.check("within twenty seconds of a round there is none", len(w.probes) == 0)
	w.run(time.Minute)
	w.s.SetActive(true)
	w.run(0)
	w.check("after an idle minute there is one at once", len(w.probes) == 1)
	w.s.SetActive(false)
	w.run(time.Second)
	w.check("which is finished", w.s.Report().At.Equal(w.sentAt[0].Add(10*ms)))
	w.forget()
	w.run(time.Hour)
	w.check("and no other follows", len(w.probes) == 0 && w.s.Deadline().IsZero())
}

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 10 * ms}))
	w.s.Refresh(w.now)
	w.run(500 * ms)
	w.check("a round that runs is as good as another", len(w.probes) == 2)
	w.s.Refresh(w.now)
	w.s.Refresh(w.now)
	w.run(400 * ms)
	w.check("rounds begin a second apart", len(w.probes) == 2)
	w.run(time.Minute)
	w.check("one for both", len(w.probes) == 4)
	w.s.Refresh(w.now)
	w.run(0)
	w.check("at once after a while", len(w.probes) == 6)
}

func TestAnotherNetwork(t *testing.T) {
	w := newWorld(t)
	w.begin(dual, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms}))
	w.run(10 * time.Second)
	w.forget()

	w.s.SetNetwork(w.now, dual)
	w.run(time.Second)
	w.wantEndpoints("the same addresses are found again", our4, our6)
	w.check("which is no news", w.news == 0)

	elsewhere := netip.MustParseAddrPort("198.51.100.200:1024")
	w.nat4 = func(netip.AddrPort) netip.AddrPort { return elsewhere }
	w.s.SetNetwork(w.now, only4)
	w.run(15 * ms)
	w.check("a new address is told at once", slices.ContainsFunc(w.s.Report().Endpoints, func(e Endpoint) bool { return e.Addr == elsewhere }))
	w.run(time.Second)
	w.wantEndpoints("the old ones are gone when the round ends", elsewhere)
	w.check("no IPv6 here", w.s.Report().IPv6 == No)

	clear(w.servers)
	w.s.SetNetwork(w.now, only4)
	w.run(10 * time.Second)
	w.wantEndpoints("nothing answers here")
	w.check("UDP does not work, the NAT is unknown", w.s.Report().UDP == No && w.s.Report().MappingVaries == Unknown)
}

func TestTheMapChangesDuringARound(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 500 * ms, 2: 500 * ms}))
	w.run(100 * ms)
	w.s.SetMap(w.now, w.regionMap(map[int]time.Duration{3: 5 * ms, 4: 10 * ms}))
	w.run(2 * time.Second)
	w.wantHome("of the new map", 3)
	_, old := w.s.Report().Latency[1]
	w.check("the old regions are forgotten", !old)
	w.s.SetMap(w.now, nil)
	w.run(time.Second)
	w.wantHome("no relays, no home", 0)
}

// TestTheSameMapIsNoNews has a coordinator that sends its map again and again,
// with every change of a peer.
func TestTheSameMapIsNoNews(t *testing.T) {
	w := newWorld(t)
	of := func() *derpmap.Map { return w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms, 3: 30 * ms}) }
	w.begin(only4, of())
	for range 50 {
		w.s.SetMap(w.now, of())
		w.run(ms)
	}
	w.check("a round that runs goes on", w.s.Report().At.Equal(w.start.Add(30*ms)))
	w.forget()
	for range 100 {
		w.s.SetMap(w.now, of())
		w.run(time.Minute)
	}
	w.check("nothing is asked anew", len(w.probes) == 0 && w.news == 0)
	moved := of()
	moved.Regions[2].Nodes[0].IPv4 = "198.51.100.98"
	w.s.SetMap(w.now, moved)
	w.run(time.Second)
	w.check("another server is", len(w.probes) == 3)
}

func TestForgedResponsesChangeNothing(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms}))
	evil := netip.MustParseAddrPort("192.0.2.66:6666")
	before, deadline := w.s.Report(), w.s.Deadline()
	p, q := w.probes[0], w.probes[1]
	w.s.HandleResponse(w.now, anyTx, address(p), evil)
	w.s.HandleResponse(w.now, stun.TxID{}, address(p), evil)
	w.s.HandleResponse(w.now, p.TxID, evil, evil)
	w.s.HandleResponse(w.now, p.TxID, address(q), evil)
	w.s.HandleResponse(w.now, p.TxID, netip.AddrPort{}, evil)
	for _, bad := range []string{"0.0.0.0:1", "[::]:1", "203.0.113.1:0", "224.0.0.1:5", "[fe80::1%eth0]:5"} {
		w.s.HandleResponse(w.now, p.TxID, address(p), netip.MustParseAddrPort(bad))
	}
	w.s.HandleProbe(HTTPSProbe{Region: 1}, ms, true)
	w.s.HandleProbe(HTTPSProbe{Region: 1, round: w.start}, ms, true)
	w.s.HandleProbe(HTTPSProbe{Region: 99, round: w.start}, ms, true)
	w.check("no forgery changes what is known", reflect.DeepEqual(before, w.s.Report()) && deadline.Equal(w.s.Deadline()))
	w.run(time.Second)
	w.wantEndpoints("the true answers still count", our4)
	w.s.HandleResponse(w.now, p.TxID, address(p), evil)
	w.wantEndpoints("an answer counts once, and in its round", our4)
}

func TestAMapMakesNoFlood(t *testing.T) {
	w := newWorld(t)
	m := &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
	for id := range 2000 {
		m.Regions[id] = &derpmap.Region{RegionID: id}
		for range 50 {
			m.Regions[id].Nodes = append(m.Regions[id].Nodes, nil, &derpmap.Node{Name: "x", HostName: "x.test"})
		}
	}
	w.s.SetActive(true)
	w.s.SetNetwork(w.now, dual)
	for range 100 {
		w.s.SetMap(w.now, m)
		w.run(100 * ms)
	}
	checkPace(t, w.sentAt)
	w.check("few regions are asked", len(w.regionsProbed()) <= maxRegions)
	w.check("over HTTPS, too", len(w.asked) <= maxRegions)
}

// checkPace fails when more requests were sent in any second than may be.
func checkPace(t *testing.T, sentAt []time.Time) {
	t.Helper()
	for i, at := range sentAt {
		n := 0
		for _, before := range sentAt[:i+1] {
			if at.Sub(before) < time.Second {
				n++
			}
		}
		if n > burst*int(time.Second/pace) {
			t.Fatalf("%d requests in a second", n)
		}
	}
}

func TestServer(t *testing.T) {
	for _, tt := range []struct {
		node         derpmap.Node
		want4, want6 string
	}{
		{derpmap.Node{HostName: "a.test"}, "a.test", "a.test"},
		{derpmap.Node{HostName: "192.0.2.1"}, "192.0.2.1", ""},
		{derpmap.Node{HostName: "a.test", IPv4: "192.0.2.1", IPv6: "none"}, "192.0.2.1", ""},
		{derpmap.Node{HostName: "a.test", IPv4: "none", IPv6: "2001:db8::1"}, "", "2001:db8::1"},
		{derpmap.Node{HostName: "a.test", IPv4: "rubbish", IPv6: "192.0.2.1"}, "", ""},
		{derpmap.Node{HostName: "a.test", STUNTestIP: "127.0.0.1"}, "127.0.0.1", ""},
		{derpmap.Node{HostName: "a.test", STUNPort: -1}, "", ""},
		{derpmap.Node{HostName: "a.test", STUNPort: 1 << 16}, "", ""},
		{derpmap.Node{}, "", ""},
	} {
		for ipv6, want := range map[bool]string{false: tt.want4, true: tt.want6} {
			host, port, ok := server(&tt.node, ipv6)
			if ok != (want != "") || ok && (host != want || port != 3478) {
				t.Errorf("%+v, IPv6 %v: %q %d %v, want %q", tt.node, ipv6, host, port, ok, want)
			}
		}
	}
	p := Probe{Node: &derpmap.Node{HostName: "a.test", STUNPort: 99}}
	if host, port := p.Server(); host != "a.test" || port != 99 {
		t.Errorf("Server() = %q, %d", host, port)
	}
}
