package policy

import (
	"net/netip"
	"slices"
)

// names reports whether s stands for the canonical node n as such, and not for
// some of its addresses or for what is behind it.
func (p *Policy) names(s selector, n *Node) bool {
	switch s.kind {
	case user:
		return !n.tagged() && n.User == s.name
	case group:
		return !n.tagged() && p.groups[s.name][n.User]
	case tag:
		return slices.Contains(n.Tags, s.name)
	case member:
		return !n.tagged()
	case tagged:
		return n.tagged()
	case admin:
		return !n.tagged() && n.Admin
	case addresses:
		return s.prefix.IsSingleIP() && n.owns(s.prefix.Addr())
	default:
		return false
	}
}

// A party is who sends, or receives: a node as such, addresses, or both.
type party struct {
	node *Node        // canonical; nil: only the address counts
	at   netip.Prefix // invalid: any of the node's

	// Of receivers:
	exit    bool // at is what an exit node leads to
	viaExit bool // and nothing else leads there
}

func (w party) has(prefix netip.Prefix) bool {
	return w.at.IsValid() && prefix.Bits() <= w.at.Bits() && prefix.Contains(w.at.Addr())
}

// sends reports whether w is a source that s stands for.
func (p *Policy) sends(s selector, w party) bool {
	return s.kind == everyone || w.node != nil && p.names(s, w.node) || s.kind == addresses && w.has(s.prefix)
}

// receives reports whether w is a destination that s stands for; from is who
// asks.
func (p *Policy) receives(s selector, from, w party) bool {
	switch s.kind {
	case everyone:
		return true
	case self:
		return from.node != nil && w.node != nil && sameUser(from.node, w.node)
	case internet:
		return w.exit && (!w.at.IsValid() || p.internet.ContainsPrefix(w.at))
	case addresses:
		if w.has(s.prefix) {
			return !w.viaExit || p.isPublic(s.prefix)
		}
		if w.exit && !w.at.IsValid() {
			return isExit(s.prefix)
		}
		return w.node != nil && p.names(s, w.node)
	default:
		return w.node != nil && p.names(s, w.node)
	}
}

// sameUser reports whether both nodes are a user's own.
func sameUser(a, b *Node) bool {
	return !a.tagged() && !b.tagged() && a.User != "" && a.User == b.User
}

// isPublic reports whether a prefix has public addresses, so that exit nodes
// are asked for it.
func (p *Policy) isPublic(prefix netip.Prefix) bool { return p.internet.OverlapsPrefix(prefix) }

// hasSource reports whether w is a source of the rule.
func (p *Policy) hasSource(r *rule, w party) bool {
	return slices.ContainsFunc(r.src, func(s selector) bool { return p.sends(s, w) })
}
