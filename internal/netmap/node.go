package netmap

import (
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// What is kept of one node's lists.
const (
	maxAddresses = 16
	maxRoutes    = 4096
	maxEndpoints = 100
)

// normalised returns a node in the form that the rest of the program relies
// on: without what is invalid or too much, and with the fields of today for
// those that older coordinators send.
func normalised(n tailcfg.Node) *tailcfg.Node {
	n.Addresses = kept(n.Addresses, maxAddresses, isAddress)
	if n.AllowedIPs == nil || n.UnsignedPeerAPIOnly {
		n.AllowedIPs = n.Addresses
	}
	n.AllowedIPs = kept(n.AllowedIPs, maxRoutes, isRoute)
	n.PrimaryRoutes = kept(n.PrimaryRoutes, maxRoutes, isRoute)
	n.Endpoints = kept(n.Endpoints, maxEndpoints, isEndpoint)
	n.HomeDERP = homeDERP(&n)
	n.LegacyDERP = ""
	n.CapMap = capMap(&n)
	n.Capabilities = nil
	return &n
}

// isAddress reports whether p is an address that a node can have.
func isAddress(p netip.Prefix) bool { return isRoute(p) && p.IsSingleIP() }

func isRoute(p netip.Prefix) bool { return p.IsValid() && !p.Addr().Is4In6() }

// isEndpoint reports whether a packet can be sent to ep.
func isEndpoint(ep netip.AddrPort) bool {
	addr := ep.Addr()
	return addr.IsValid() && ep.Port() != 0 && !addr.IsUnspecified() && !addr.IsMulticast()
}

// homeDERP returns the home region of a node, or 0 when it has none.
func homeDERP(n *tailcfg.Node) int {
	home := n.HomeDERP
	if addr, err := netip.ParseAddrPort(n.LegacyDERP); home == 0 && err == nil {
		home, _ = disco.Region(addr)
	}
	if !isRegion(home) {
		return 0
	}
	return home
}

func isRegion(id int) bool { return id >= 1 && id <= math.MaxUint16 }

func capMap(n *tailcfg.Node) map[string][]json.RawMessage {
	if len(n.Capabilities) == 0 {
		return n.CapMap
	}
	caps := make(map[string][]json.RawMessage, len(n.Capabilities)+len(n.CapMap))
	for _, name := range n.Capabilities {
		caps[name] = nil
	}
	maps.Copy(caps, n.CapMap)
	return caps
}

// kept returns the first most elements of list for which ok holds. When that
// is all of them it returns list itself.
func kept[T any](list []T, most int, ok func(T) bool) []T {
	all := !slices.ContainsFunc(list, func(v T) bool { return !ok(v) })
	if all {
		return list[:min(len(list), most):min(len(list), most)]
	}
	out := make([]T, 0, min(len(list), most))
	for _, v := range list {
		if len(out) < most && ok(v) {
			out = append(out, v)
		}
	}
	return out
}
