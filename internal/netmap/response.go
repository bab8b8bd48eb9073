package netmap

import (
	"maps"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Response returns a response that, as the first of a stream that arrives at now,
// makes m again: for keeping m between two runs of a program. What is only of
// the moment is left out, as are the coordinator's complaints, who is online, and
// what nodes tell of their hosts.
func (m *Map) Response(now time.Time) *tailcfg.MapResponse {
	resp := &tailcfg.MapResponse{
		Node:      durable(m.Self),
		Peers:     make([]*tailcfg.Node, len(m.nodes)),
		DERPMap:   m.DERPMap,
		DNSConfig: m.DNS,
		Domain:    m.Domain,
		TKAInfo:   m.TKA,
	}
	for i, n := range m.nodes {
		resp.Peers[i] = durable(n)
	}
	for _, id := range slices.Sorted(maps.Keys(m.users)) {
		resp.UserProfiles = append(resp.UserProfiles, m.users[id])
	}
	if m.clockDelta != 0 {
		theirs := now.Add(m.clockDelta)
		resp.ControlTime = &theirs
	}
	if m.FilterKnown {
		// The entry for all makes it an answer even when no rule is left.
		resp.PacketFilters = map[string][]tailcfg.FilterRule{allFilters: nil}
		maps.Copy(resp.PacketFilters, m.filters)
	}
	return resp
}

// durable returns what of a node outlives the moment.
func durable(n *tailcfg.Node) *tailcfg.Node {
	d := *n
	d.Online, d.Hostinfo = nil, nil
	return &d
}
