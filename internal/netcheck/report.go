package netcheck

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Answer is that to a question which the network may not have answered yet.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

func (a Answer) String() string {
	return [...]string{"unknown", "no", "yes"}[min(a, Yes)]
}

// bool returns the answer in the form of the control protocol.
func (a Answer) bool() *bool {
	if a == Unknown {
		return nil
	}
	yes := a == Yes
	return &yes
}

// Report is what a [State] knows. It shares nothing with it.
type Report struct {
	// At is when the last round ended; zero before the first.
	At time.Time
	// Home is the region where others reach us, or 0 while there is none.
	Home int
	// UDP says whether a STUN server answers, IPv6 whether one does over IPv6,
	// and HasIPv6 whether the host speaks that at all.
	UDP, IPv6 Answer
	HasIPv6   bool
	// MappingVaries is Yes behind a hard NAT, which maps one socket to
	// different addresses for different destinations.
	MappingVaries Answer
	// Endpoints are our public addresses, in the order in which they were
	// found. Behind a hard NAT they are good for little but their IP address.
	// One is kept for 5 minutes and 10 seconds after it was last seen, and
	// longer while the node is idle.
	Endpoints []Endpoint
	// Latency of each region when it last answered, within about five minutes.
	Latency map[int]Latency
	// Mappings are those of IPv4 that the NAT made most recently, at most 16,
	// in the order in which our requests had it make them.
	Mappings []Mapping
}

// Report returns what is known now.
func (s *State) Report() Report {
	r := Report{
		At:            s.findings.at,
		Home:          s.home.region,
		UDP:           s.findings.udp,
		IPv6:          s.findings.ipv6,
		HasIPv6:       s.network.hasIPv6(),
		MappingVaries: s.findings.mapping,
		Endpoints:     s.addresses.tell(),
		Latency:       make(map[int]Latency, len(s.latencies)),
	}
	for id, samples := range s.latencies {
		r.Latency[id] = samples[len(samples)-1].Latency
	}
	for _, m := range s.addresses.mappings {
		r.Mappings = append(r.Mappings, m.Mapping)
	}
	return r
}

// NetInfo returns the report as the coordinator wants it, without what port
// mapping knows. Latencies are those of STUN, as there is no form for others.
func (r Report) NetInfo() *tailcfg.NetInfo {
	info := &tailcfg.NetInfo{
		MappingVariesByDestIP: r.MappingVaries.bool(),
		WorkingIPv6:           r.IPv6.bool(),
		OSHasIPv6:             &r.HasIPv6,
		WorkingUDP:            r.UDP.bool(),
		PreferredDERP:         r.Home,
	}
	if len(r.Latency) > 0 {
		info.DERPLatency = make(map[string]float64, len(r.Latency))
	}
	for id, l := range r.Latency {
		for family, d := range map[string]time.Duration{"v4": l.IPv4, "v6": l.IPv6} {
			if d > 0 {
				info.DERPLatency[fmt.Sprintf("%d-%s", id, family)] = d.Seconds()
			}
		}
	}
	return info
}

// maxPortStep is the largest step between ports that counts as a sequence.
const maxPortStep = 32

// PortStep returns by how much each new mapping's port differs from that of the
// one before, and whether the NAT hands out ports in sequence, as far as three
// mappings or more of one burst show. Other hosts behind the NAT use ports,
// too: the step is the smallest seen.
func (r Report) PortStep() (step int, ok bool) {
	burst := lastBurst(r.Mappings)
	for i := 1; i < len(burst); i++ {
		d := int(burst[i].Addr.Port()) - int(burst[i-1].Addr.Port())
		if d == 0 || abs(d) > maxPortStep || step != 0 && d > 0 != (step > 0) {
			return 0, false
		}
		if step == 0 || abs(d) < abs(step) {
			step = d
		}
	}
	return step, len(burst) >= 3
}

// lastBurst returns the mappings that were made last, on one public address,
// within a second of each other.
func lastBurst(all []Mapping) []Mapping {
	from := max(0, len(all)-1)
	for from > 0 {
		before, after := all[from-1], all[from]
		if before.Addr.Addr() != after.Addr.Addr() || after.At.Sub(before.At).Abs() > time.Second {
			break
		}
		from--
	}
	return all[from:]
}

func abs(n int) int { return max(n, -n) }

// facts is what is news when it changes.
type facts struct {
	home               int
	udp, ipv6, mapping Answer
	hasIPv6            bool
	endpoints          []netip.AddrPort
}

func (s *State) facts() facts {
	f := facts{
		home:    s.home.region,
		udp:     s.findings.udp,
		ipv6:    s.findings.ipv6,
		mapping: s.findings.mapping,
		hasIPv6: s.findings.hasIPv6,
	}
	for _, e := range s.addresses.tell() {
		f.endpoints = append(f.endpoints, e.Addr)
	}
	return f
}

func (f facts) equal(g facts) bool {
	return f.home == g.home && f.udp == g.udp && f.ipv6 == g.ipv6 && f.mapping == g.mapping &&
		f.hasIPv6 == g.hasIPv6 && slices.Equal(f.endpoints, g.endpoints)
}
