package netcheck

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func overIPv6(p Probe) bool { return p.IPv6 }
func overIPv4(p Probe) bool { return !p.IPv6 }

// TestFamilies has networks in which one family works, or none, or one less
// well.
func TestFamilies(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name       string
		network    Network
		set        func(*world)
		endpoints  []netip.AddrPort
		udp        Answer
		ipv6       Answer
		mapping    Answer
		round      time.Duration // the first is over
		homeWithin time.Duration
	}{
		{"both", dual, func(*world) {}, []netip.AddrPort{our4, our6}, Yes, Yes, No, 60 * ms, 60 * ms},
		{"IPv4 alone", only4, func(*world) {}, []netip.AddrPort{our4}, Yes, No, No, 60 * ms, 60 * ms},
		{"IPv6 alone", only6, func(*world) {}, []netip.AddrPort{our6}, Yes, Yes, Unknown, 60 * ms, 60 * ms},
		{"IPv6 leads nowhere", dual, func(w *world) { w.lossy = overIPv6 },
			[]netip.AddrPort{our4}, Yes, No, No, 60*ms + hurryFamily, 100 * ms},
		{"IPv4 leads nowhere", dual, func(w *world) { w.lossy = overIPv4 },
			[]netip.AddrPort{our6}, Yes, Yes, Unknown, 60*ms + hurryFamily, 100 * ms},
		{"IPv6 has no route", dual, func(w *world) { w.noRoute = overIPv6 },
			[]netip.AddrPort{our4}, Yes, No, No, 180 * ms, 100 * ms},
		{"IPv4 has no route", dual, func(w *world) { w.noRoute = overIPv4 },
			[]netip.AddrPort{our6}, Yes, Yes, Unknown, 180 * ms, 100 * ms},
		{"IPv6 is slow", dual, func(w *world) { w.slow = func(p Probe) time.Duration { return either(p.IPv6, 200*ms) } },
			[]netip.AddrPort{our4, our6}, Yes, Yes, No, 260 * ms, 100 * ms},
		{"IPv4 is slow", dual, func(w *world) { w.slow = func(p Probe) time.Duration { return either(!p.IPv6, 200*ms) } },
			[]netip.AddrPort{our6, our4}, Yes, Yes, No, 260 * ms, 100 * ms},
		{"IPv6 loses much", dual, func(w *world) { n := 0; w.lossy = func(p Probe) bool { n++; return p.IPv6 && n <= 8 } },
			[]netip.AddrPort{our4, our6}, Yes, Yes, No, second, 100 * ms},
		{"IPv6 that a gateway turns into IPv4", only6, func(w *world) { w.nat6 = func(Probe) netip.AddrPort { return our4 } },
			[]netip.AddrPort{our4}, Yes, Yes, No, 60 * ms, 60 * ms},
		{"and that is a hard NAT", only6, func(w *world) {
			nat := hardNAT(1)
			w.nat6 = func(p Probe) netip.AddrPort { return nat(address(p)) }
		}, []netip.AddrPort{netip.AddrPortFrom(our4.Addr(), 20000)}, Yes, Yes, Yes, 60 * ms, 60 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(w)
			w.s.SetActive(true)
			w.begin(tt.network, w.regionMap(map[int]time.Duration{1: 20 * ms, 2: 40 * ms, 3: 60 * ms}))
			w.run(tt.homeWithin)
			w.wantHome("the nearest, soon", 1)
			w.run(10 * second)
			r := w.s.Report()
			w.check("the round takes no longer than that", r.At.Sub(w.start) <= tt.round)
			w.check("UDP, IPv6, NAT", r.UDP == tt.udp && r.IPv6 == tt.ipv6 && r.MappingVaries == tt.mapping && r.HasIPv6 == tt.network.IPv6)
			w.wantEndpoints("those that work", tt.endpoints...)
			w.check("nothing is measured over HTTPS", len(w.asked) == 0)

			w.forget()
			w.run(time.Hour)
			w.check("it stays so", w.news == 0)
			w.wantHome("it stays", 1)
			w.check("what does not work is not asked for long", len(w.probes) <= 3600/20*6*2+12*18)
		})
	}
}

func either(yes bool, d time.Duration) time.Duration {
	if yes {
		return d
	}
	return 0
}

// TestServersOfOneFamily has relays that cannot be asked in the only family
// that there is.
func TestServersOfOneFamily(t *testing.T) {
	w := newWorld(t)
	m := w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms, 3: 30 * ms})
	m.Regions[1].Nodes[0].IPv4 = "none"
	m.Regions[2].Nodes[0].IPv6 = "none"
	w.begin(only4, m)
	w.run(10 * time.Second)
	w.check("one has no IPv4", w.regionsProbed()[1] == 0)
	w.wantHome("the nearest of the others", 2)

	w.s.SetNetwork(w.now, only6)
	w.run(10 * time.Second)
	w.wantHome("now it is that which has IPv6", 1)

	for _, r := range m.Regions {
		r.Nodes[0] = &derpmap.Node{Name: r.Nodes[0].Name, HostName: "192.0.2.1"}
	}
	w = newWorld(t)
	w.https = map[int]time.Duration{1: 30 * ms, 2: 20 * ms, 3: 10 * ms}
	w.begin(only6, m)
	w.run(10 * time.Second)
	w.check("relays at addresses of IPv4 are asked over HTTPS: the dialer may have a way", len(w.probes) == 0 && len(w.asked) == 3)
	w.wantHome("the nearest", 3)
}

// TestAHostWithoutIPv6 tells one that speaks IPv6 with itself from one that
// does not.
func TestAHostWithoutIPv6(t *testing.T) {
	w := newWorld(t)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms}))
	w.run(time.Second)
	w.check("it does not speak it", !*w.s.Report().NetInfo().OSHasIPv6)
	w.s.SetNetwork(w.now, Network{IPv4: true, HasIPv6: true})
	w.run(5 * time.Second)
	info := w.s.Report().NetInfo()
	w.check("it does, but there is nobody", *info.OSHasIPv6 && !*info.WorkingIPv6)
}
