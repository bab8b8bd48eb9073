package netmap

import (
	"cmp"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// applyPeers returns the peers after resp, in order of ID. Neither nodes nor
// what is in it changes.
func applyPeers(nodes []*tailcfg.Node, resp *tailcfg.MapResponse, now time.Time) []*tailcfg.Node {
	if len(resp.Peers) > 0 {
		return ordered(resp.Peers)
	}
	nodes = without(nodes, resp.PeersRemoved)
	nodes = merged(nodes, ordered(resp.PeersChanged))
	return edited(nodes, resp, now)
}

// ordered returns nodes as they come from the coordinator normalised and in
// order of ID. Of several with one ID the last counts. IDs are positive.
func ordered(list []*tailcfg.Node) []*tailcfg.Node {
	nodes := make([]*tailcfg.Node, 0, len(list))
	for _, n := range list {
		if n != nil && n.ID > 0 {
			nodes = append(nodes, normalised(*n))
		}
	}
	slices.SortStableFunc(nodes, func(a, b *tailcfg.Node) int { return cmp.Compare(a.ID, b.ID) })
	last := nodes[:0]
	for i, n := range nodes {
		if i+1 == len(nodes) || nodes[i+1].ID != n.ID {
			last = append(last, n)
		}
	}
	return last
}

func without(nodes []*tailcfg.Node, removed []tailcfg.NodeID) []*tailcfg.Node {
	if len(removed) == 0 {
		return nodes
	}
	gone := make(map[tailcfg.NodeID]bool, len(removed))
	for _, id := range removed {
		gone[id] = true
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n *tailcfg.Node) bool { return gone[n.ID] })
}

// merged returns nodes with those of changed, which replace the ones of the
// same ID. Both are in order.
func merged(nodes, changed []*tailcfg.Node) []*tailcfg.Node {
	if len(changed) == 0 {
		return nodes
	}
	out := make([]*tailcfg.Node, 0, len(nodes)+len(changed))
	for len(nodes) > 0 && len(changed) > 0 {
		switch c := cmp.Compare(nodes[0].ID, changed[0].ID); {
		case c < 0:
			out, nodes = append(out, nodes[0]), nodes[1:]
		case c > 0:
			out, changed = append(out, changed[0]), changed[1:]
		default:
			nodes = nodes[1:]
		}
	}
	return append(append(out, nodes...), changed...)
}

// edited returns nodes with the small changes of resp.
func edited(nodes []*tailcfg.Node, resp *tailcfg.MapResponse, now time.Time) []*tailcfg.Node {
	if len(resp.PeerSeenChange)+len(resp.OnlineChange)+len(resp.PeersChangedPatch) == 0 {
		return nodes
	}
	nodes = slices.Clone(nodes)
	// edit gives do a copy of the node with an ID, if there is one, to change.
	edit := func(id tailcfg.NodeID, do func(n *tailcfg.Node)) {
		if i, ok := find(nodes, id); ok {
			n := *nodes[i]
			do(&n)
			nodes[i] = &n
		}
	}
	for id, seen := range resp.PeerSeenChange {
		edit(id, func(n *tailcfg.Node) {
			if n.LastSeen = nil; seen {
				n.LastSeen = &now
			}
		})
	}
	for id, online := range resp.OnlineChange {
		edit(id, func(n *tailcfg.Node) { n.Online = &online })
	}
	for _, change := range resp.PeersChangedPatch {
		if change != nil {
			edit(change.NodeID, func(n *tailcfg.Node) { patch(n, change) })
		}
	}
	return nodes
}

// patch sets the fields of n that are in change.
func patch(n *tailcfg.Node, change *tailcfg.PeerChange) {
	if isRegion(change.DERPRegion) {
		n.HomeDERP = change.DERPRegion
	}
	if change.Cap != 0 {
		n.Cap = change.Cap
	}
	if change.CapMap != nil {
		n.CapMap = change.CapMap
	}
	if change.Endpoints != nil {
		n.Endpoints = kept(change.Endpoints, maxEndpoints, isEndpoint)
	}
	if change.Key != nil {
		n.Key = *change.Key
	}
	if change.DiscoKey != nil {
		n.DiscoKey = *change.DiscoKey
	}
	if change.Online != nil {
		n.Online = change.Online
	}
	if change.LastSeen != nil {
		n.LastSeen = change.LastSeen
	}
	if change.KeyExpiry != nil {
		n.KeyExpiry = *change.KeyExpiry
	}
}
