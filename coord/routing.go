package coord

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// A node advertises routes in its Hostinfo. They are approved by an
// administrator or by the policy. Of the nodes with one approved route one is
// its primary, and the others' peers use that: for as long as it is online, or
// nobody else is. Routes to everywhere, those of exit nodes, have no primary:
// people choose an exit node by name.

// maxRoutes bounds the routes of a node, which its peers are told.
const maxRoutes = 256

func comparePrefix(a, b netip.Prefix) int { return a.Compare(b) }

func isExit(p netip.Prefix) bool { return p.Bits() == 0 }

// usableRoutes returns those of prefixes that can be routes, in order: none
// that could lead to nodes.
func usableRoutes(prefixes []netip.Prefix) []netip.Prefix {
	var usable []netip.Prefix
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() {
			continue
		}
		p = p.Masked()
		if !isExit(p) && (p.Overlaps(meshIPv4) || p.Overlaps(meshIPv6)) {
			continue
		}
		usable = append(usable, p)
	}
	slices.SortFunc(usable, comparePrefix)
	usable = slices.Compact(usable)
	return usable[:min(len(usable), maxRoutes)]
}

// routes returns what the node advertises and is approved.
func (n *node) routes() []netip.Prefix {
	if len(n.Approved) == 0 || len(n.Hostinfo.RoutableIPs) == 0 {
		return nil
	}
	var both []netip.Prefix
	for _, p := range n.Hostinfo.RoutableIPs {
		if _, ok := slices.BinarySearchFunc(n.Approved, p, comparePrefix); ok {
			both = append(both, p)
		}
	}
	return both
}

// allowedIPs returns the addresses to which peers send through the node: nil
// if they are its own alone.
func (n *node) allowedIPs() []netip.Prefix {
	var allowed []netip.Prefix
	for _, p := range n.routes() {
		if isExit(p) {
			allowed = append(allowed, p)
		}
	}
	allowed = append(allowed, n.Primary...)
	if len(allowed) == 0 {
		return nil
	}
	return append(n.ownPrefixes(), allowed...)
}

// approve adds to what is approved of the node.
func (n *node) approve(routes ...netip.Prefix) {
	all := slices.Concat(n.Approved, routes)
	slices.SortFunc(all, comparePrefix)
	n.Approved = slices.Compact(all)
}

// autoApprove approves the routes that the policy says need nobody.
func (s *state) autoApprove(n *node) {
	var fresh []netip.Prefix
	for _, p := range n.Hostinfo.RoutableIPs {
		if !slices.Contains(n.Approved, p) && s.policy.AutoApproves(n.policyNode(s.users), p) {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) > 0 {
		n.approve(fresh...)
	}
}

// autoApproveAll does so for all nodes, after another policy was put in force.
func (s *state) autoApproveAll() {
	for _, n := range s.nodes {
		changed := *n
		if s.autoApprove(&changed); len(changed.Approved) > len(n.Approved) {
			s.putNode(&changed)
		}
	}
}

// electRouters sees to it that each approved route has a primary.
func (s *state) electRouters(now time.Time) {
	if !s.routesAltered {
		return
	}
	s.routesAltered = false
	candidates := make(map[netip.Prefix][]*node)
	primary := make(map[tailcfg.NodeID][]netip.Prefix)
	for id := range s.routers {
		n := s.nodes[id]
		for _, p := range n.routes() {
			if !isExit(p) {
				candidates[p] = append(candidates[p], n)
			}
		}
	}
	for p, nodes := range candidates {
		id := elect(now, p, nodes)
		primary[id] = append(primary[id], p)
	}
	for id := range s.routers {
		n, routes := s.nodes[id], primary[id]
		slices.SortFunc(routes, comparePrefix)
		if !slices.Equal(n.Primary, routes) {
			s.give(func(*ledger) {}) // what another may have now
			s.change(n, func(n *node) { n.Primary = routes })
		}
	}
}

// elect returns which of the nodes is to be the primary of a route: one that is
// there rather than one that is not, then the present one, then the oldest.
func elect(now time.Time, p netip.Prefix, nodes []*node) tailcfg.NodeID {
	rank := func(n *node) (rank int) {
		if n.online() && !n.expiredAt(now) {
			rank += 2
		}
		if slices.Contains(n.Primary, p) {
			rank++
		}
		return rank
	}
	best := slices.MinFunc(nodes, func(a, b *node) int {
		if d := rank(b) - rank(a); d != 0 {
			return d
		}
		return int(a.ID - b.ID)
	})
	return best.ID
}
