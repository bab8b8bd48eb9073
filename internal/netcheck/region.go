package netcheck

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/stun"
)

// What is asked of a map, which is the coordinator's word.
const (
	maxRegions  = 64
	maxNodes    = 3 // of a region, in each family
	incremental = 3 // regions besides the home in a round that is not full
)

// region is one of the map that can be home, or that has STUN servers.
type region struct {
	id     int
	home   bool // can be
	nodes4 []*derpmap.Node
	nodes6 []*derpmap.Node
}

// regionsOf returns the regions that matter, by ID.
func regionsOf(m *derpmap.Map) (all []region) {
	if m == nil {
		return nil
	}
	lastResort := !anyToChoose(m)
	for id, r := range m.Regions {
		if r == nil || !isRegion(id) || r.NoMeasureNoHome {
			continue
		}
		reg := region{id: id, home: r.CanBeHome() && (!r.Avoid || lastResort), nodes4: serversOf(r, false), nodes6: serversOf(r, true)}
		if reg.home || len(reg.nodes4)+len(reg.nodes6) > 0 {
			all = append(all, reg)
		}
	}
	slices.SortFunc(all, func(a, b region) int {
		return cmp.Or(trueFirst(a.home, b.home), cmp.Compare(a.id, b.id))
	})
	all = all[:min(len(all), maxRegions)]
	slices.SortFunc(all, func(a, b region) int { return cmp.Compare(a.id, b.id) })
	return all
}

// anyToChoose reports whether there is a home among the regions that are not to
// be avoided.
func anyToChoose(m *derpmap.Map) bool {
	for id, r := range m.Regions {
		if isRegion(id) && r.CanBeHome() && !r.Avoid {
			return true
		}
	}
	return false
}

// isRegion reports whether an ID can be one: the protocols carry it as a port.
func isRegion(id int) bool { return id >= 1 && id <= math.MaxUint16 }

// maxScore keeps a scored latency, of less than a minute, from overflowing.
const maxScore = 1e6

// scoresOf returns the factors for latencies that have a meaning, by region.
func scoresOf(m *derpmap.Map) map[int]float64 {
	if m == nil || m.HomeParams == nil {
		return nil
	}
	scores := maps.Clone(m.HomeParams.RegionScore)
	maps.DeleteFunc(scores, func(id int, score float64) bool { return !isRegion(id) || !(score > 0 && score <= maxScore) })
	return scores
}

// trueFirst compares in an order in which true stands before false.
func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// serversOf returns the nodes of a region that have a STUN server in a family.
func serversOf(r *derpmap.Region, ipv6 bool) (nodes []*derpmap.Node) {
	for _, n := range r.Nodes {
		if len(nodes) == maxNodes {
			break
		}
		if n == nil {
			continue
		}
		if _, _, ok := server(n, ipv6); ok {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// nearest returns the regions for a round that is not full: those with the
// lowest latencies, and home.
func nearest(all []region, latencies history, home int) (some []region) {
	sorted := slices.SortedStableFunc(slices.Values(all), func(a, b region) int {
		x, y := latencies.best(a.id), latencies.best(b.id)
		return cmp.Or(trueFirst(x != 0, y != 0), cmp.Compare(x, y))
	})
	for i, r := range sorted {
		if i < incremental || r.id == home {
			some = append(some, r)
		}
	}
	return some
}

// Probe is a STUN request that a driver sends.
type Probe struct {
	Region int
	Node   *derpmap.Node // whose server is asked
	IPv6   bool          // over IPv6, else over IPv4
	TxID   stun.TxID
}

// Server returns whom to ask: an address of the probe's family, or a name to
// look up there, and the port.
func (p Probe) Server() (host string, port uint16) {
	host, port, _ = server(p.Node, p.IPv6)
	return host, port
}

// server returns a node's STUN server in a family, if it can have one.
func server(n *derpmap.Node, ipv6 bool) (host string, port uint16, ok bool) {
	if n.STUNPort < 0 || n.STUNPort > math.MaxUint16 {
		return "", 0, false
	}
	port = uint16(cmp.Or(n.STUNPort, 3478))
	fixed := n.IPv4
	if ipv6 {
		fixed = n.IPv6
	}
	host = cmp.Or(n.STUNTestIP, fixed, n.HostName)
	addr, err := netip.ParseAddr(host)
	if err != nil {
		isName := host != "" && host == n.HostName
		return host, port, isName
	}
	return host, port, addr.Is4() != ipv6
}
