package meshnet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/netcheck"
)

// Netcheck describes the network that a node is in.
type Netcheck struct {
	// At is when it was looked at; zero when that has not been done.
	At time.Time
	// UDP is whether STUN servers answer, over either IP version, and IPv6
	// whether one does over IPv6.
	UDP, IPv6 Answer
	// HardNAT is whether there is a NAT that shows every destination another
	// port, so that direct paths are hard to find.
	HardNAT Answer
	// Endpoints are the node's public addresses, as STUN servers saw them.
	Endpoints []netip.AddrPort
	// Mapped is where the router passes packets on to the node; invalid when it
	// was not asked, or does not.
	Mapped netip.AddrPort
	// Home is the code of the relay region where peers find the node; empty
	// while there is none.
	Home string
	// Relays are the regions of the mesh, the nearest first; those that did not
	// answer come last.
	Relays []RelayLatency
}

// RelayLatency is how far a relay region is.
type RelayLatency struct {
	Region string // its code, such as "fra"
	Name   string // such as "Frankfurt"
	// Latency is the shortest time to an answer, by STUN or else by HTTPS; zero
	// when there was none.
	Latency time.Duration
}

// Answer is that to a question which the network may not have answered.
type Answer string

// The answers.
const (
	AnswerUnknown Answer = "unknown"
	AnswerNo      Answer = "no"
	AnswerYes     Answer = "yes"
)

// Netcheck looks at the network and says what it finds, within ten seconds. It
// waits for the node to be up. When ctx ends before the look does, there is an
// error, and with it what is known from earlier ones.
func (s *Server) Netcheck(ctx context.Context) (*Netcheck, error) {
	n, v, err := s.member(ctx)
	if err != nil {
		return nil, fmt.Errorf("meshnet: looking at the network: %w", err)
	}
	report, err := n.magic.Netcheck(ctx)
	if err != nil {
		err = fmt.Errorf("meshnet: looking at the network: %w", err)
	}
	found := describeNetwork(report, v.netMap.DERPMap)
	found.Mapped = n.host.mapped()
	return found, err
}

func describeNetwork(r netcheck.Report, m *derpmap.Map) *Netcheck {
	answer := func(a netcheck.Answer) Answer { return Answer(a.String()) }
	found := &Netcheck{
		At:      r.At,
		UDP:     answer(r.UDP),
		IPv6:    answer(r.IPv6),
		HardNAT: answer(r.MappingVaries),
	}
	for _, e := range r.Endpoints {
		found.Endpoints = append(found.Endpoints, e.Addr)
	}
	for _, id := range m.IDs() {
		region := m.Regions[id]
		found.Relays = append(found.Relays, RelayLatency{region.RegionCode, region.RegionName, shortest(r.Latency[id])})
		if id == r.Home {
			found.Home = region.RegionCode
		}
	}
	slices.SortStableFunc(found.Relays, nearerFirst)
	return found
}

func shortest(l netcheck.Latency) (least time.Duration) {
	for _, d := range []time.Duration{l.IPv4, l.IPv6} {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	if least == 0 {
		return l.HTTPS
	}
	return least
}

func nearerFirst(a, b RelayLatency) int {
	switch {
	case a.Latency == b.Latency:
		return 0
	case b.Latency == 0, a.Latency != 0 && a.Latency < b.Latency:
		return -1
	}
	return 1
}
