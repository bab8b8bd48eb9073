package netcheck

import (
	"net/netip"
	"testing"
	"time"
)

// hardNAT gives every server another port, counting by step.
func hardNAT(step int) func(netip.AddrPort) netip.AddrPort {
	ports := make(map[netip.AddrPort]uint16)
	next := 20000
	return func(server netip.AddrPort) netip.AddrPort {
		if ports[server] == 0 {
			ports[server] = uint16(next)
			next += step
		}
		return netip.AddrPortFrom(our4.Addr(), ports[server])
	}
}

func TestAHardNAT(t *testing.T) {
	w := newWorld(t)
	w.nat4 = hardNAT(2)
	w.s.SetActive(true)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 40 * ms, 2: 20 * ms, 3: 30 * ms, 4: 50 * ms}))
	w.run(time.Second)
	r := w.s.Report()
	w.check("the mapping varies", r.MappingVaries == Yes)
	w.wantEndpoints("of many addresses one is told", netip.AddrPortFrom(our4.Addr(), 20002))
	w.check("mappings stand in the order of requests, not of answers", len(r.Mappings) == 4 && r.Mappings[0].Addr.Port() == 20000 && r.Mappings[3].Addr.Port() == 20006)
	if step, ok := r.PortStep(); step != 2 || !ok {
		t.Errorf("PortStep() = %d, %v", step, ok)
	}
	w.run(10 * time.Minute)
	w.wantEndpoints("and it stays the same one", netip.AddrPortFrom(our4.Addr(), 20002))
	w.check("known mappings are no new ones", len(w.s.Report().Mappings) == 4)
}

func TestPortsWithoutOrder(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	mappings := func(ports ...uint16) (all []Mapping) {
		for _, p := range ports {
			all = append(all, Mapping{Addr: netip.AddrPortFrom(our4.Addr(), p), At: at})
		}
		return all
	}
	old := mappings(7)
	old[0].At = at.Add(-time.Minute)
	for _, tt := range []struct {
		name string
		all  []Mapping
		step int
		ok   bool
	}{
		{"nothing", nil, 0, false},
		{"one", mappings(5), 0, false},
		{"two are no sequence", mappings(5, 6), 1, false},
		{"three", mappings(5, 6, 7), 1, true},
		{"downwards", mappings(9, 7, 5), -2, true},
		{"with others between", mappings(5, 9, 11), 2, true},
		{"up and down", mappings(5, 6, 5), 0, false},
		{"random", mappings(5, 40000, 123), 0, false},
		{"an old one is another burst", append(old, mappings(100, 101, 102)...), 1, true},
	} {
		if step, ok := (Report{Mappings: tt.all}).PortStep(); step != tt.step || ok != tt.ok {
			t.Errorf("%s: step %d, %v; want %d, %v", tt.name, step, ok, tt.step, tt.ok)
		}
	}
}

func TestServersOnOneAddress(t *testing.T) {
	at := netip.MustParseAddrPort
	v := func(server, mapped string) view { return view{server: at(server), mapped: at(mapped)} }
	for name, tt := range map[string]struct {
		views []view
		want  Answer
	}{
		"nobody":             {nil, Unknown},
		"one":                {[]view{v("198.51.100.1:3478", "203.0.113.7:1")}, Unknown},
		"two agree":          {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("198.51.100.2:3478", "203.0.113.7:1")}, No},
		"two differ":         {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("198.51.100.2:3478", "203.0.113.7:2")}, Yes},
		"one differs":        {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("198.51.100.1:3478", "203.0.113.7:2")}, Unknown},
		"ports agree":        {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("198.51.100.1:3479", "203.0.113.7:1")}, Unknown},
		"ports differ":       {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("198.51.100.1:3479", "203.0.113.7:2")}, Yes},
		"IPv6 is not asked":  {[]view{v("[2001:db8::1]:1", "[2001:db8::7]:1"), v("[2001:db8::2]:1", "[2001:db8::7]:2")}, Unknown},
		"nor both at a time": {[]view{v("198.51.100.1:3478", "203.0.113.7:1"), v("[2001:db8::2]:1", "[2001:db8::7]:2")}, Unknown},
	} {
		if got := mappingVaries(tt.views); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestAnEndpointIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.s.SetActive(true)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms}))
	w.run(2 * time.Minute)
	seen := w.s.Report().Endpoints[0].Seen
	other := netip.MustParseAddrPort("203.0.113.7:50000")
	w.nat4 = func(netip.AddrPort) netip.AddrPort { return other }
	w.run(time.Minute)
	w.wantEndpoints("the NAT has a new mapping, the old one may live", our4, other)
	w.check("it has an age", w.s.Report().Endpoints[0].Seen.Equal(seen) && w.s.Report().Endpoints[1].Seen.After(seen))
	w.run(seen.Add(endpointAge).Sub(w.now) - time.Second)
	w.wantEndpoints("for 5 minutes and 10 seconds", our4, other)
	w.run(30 * time.Second)
	w.wantEndpoints("and is gone then", other)
}

func TestEndpointsAreFew(t *testing.T) {
	w := newWorld(t)
	w.s.SetActive(true)
	port := uint16(1024)
	w.nat4 = func(netip.AddrPort) netip.AddrPort { port++; return netip.AddrPortFrom(our4.Addr(), port) }
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms}))
	for range 200 {
		w.s.Refresh(w.now)
		w.run(time.Second)
	}
	w.check("servers that lie make no list without end", len(w.s.Report().Endpoints) <= maxEndpoints && len(w.s.Report().Mappings) <= maxMappings)
	w.check("the newest is among them", w.s.Report().Endpoints[len(w.s.Report().Endpoints)-1].Addr.Port() == port)
}
