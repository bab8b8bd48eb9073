package policy

import (
	"net/netip"
	"slices"
)

// HasTag reports whether the policy knows the tag, "tag:web".
func (p *Policy) HasTag(name string) bool { return p.hasTag(name) }

// MayTag reports whether n, by its user or by a tag that it has, may apply a
// tag: one of its owners is n, its user or its user's group; or is a tag that
// n may apply. Administrators may apply any tag that the policy has.
func (p *Policy) MayTag(n Node, name string) bool {
	n = n.canonical()
	if !p.hasTag(name) {
		return false
	}
	return n.Admin || p.mayTag(&n, name, make(map[string]bool))
}

// mayTag asks for each tag once: tags may own each other in a circle.
func (p *Policy) mayTag(n *Node, name string, asked map[string]bool) bool {
	if asked[name] {
		return false
	}
	asked[name] = true
	return slices.ContainsFunc(p.tagOwners[name], func(s selector) bool {
		return p.names(s, n) || s.kind == tag && p.mayTag(n, s.name, asked)
	})
}

// AutoApproves reports whether a route that n advertises needs no
// administrator. The routes of exit nodes, 0.0.0.0/0 and ::/0, are approved by
// "exitNode", others by the prefixes under "routes" that contain them.
func (p *Policy) AutoApproves(n Node, route netip.Prefix) bool {
	n = n.canonical()
	route = route.Masked()
	if !route.IsValid() {
		return false
	}
	if isExit(route) {
		return p.isAny(p.exitNode, &n)
	}
	return slices.ContainsFunc(p.routes, func(a approver) bool {
		return a.prefix.Bits() <= route.Bits() && a.prefix.Contains(route.Addr()) && p.isAny(a.by, &n)
	})
}

func (p *Policy) isAny(list []selector, n *Node) bool {
	return slices.ContainsFunc(list, func(s selector) bool { return p.names(s, n) })
}
