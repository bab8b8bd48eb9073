package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Node is what a policy looks at in a member of the mesh.
type Node struct {
	ID tailcfg.NodeID
	// User is the login of its owner, "alice@example.com"; a trailing "@" and
	// the case of letters do not count. A node with tags has no user: then
	// User and Admin mean nothing.
	User  string
	Admin bool     // User is an administrator of the mesh
	Tags  []string // "tag:web"
	Addrs []netip.Addr
	// Routes are the approved ones; those of an exit node are 0.0.0.0/0 and
	// ::/0.
	Routes []netip.Prefix
}

// canonical returns n as it is compared: with a login in small letters, its
// lists in order and without what is invalid, and nothing shared.
func (n Node) canonical() Node {
	n.User = login(n.User)
	n.Tags = slices.Compact(slices.Sorted(slices.Values(n.Tags)))
	if len(n.Tags) > 0 {
		n.User, n.Admin = "", false
	}
	addrs := make([]netip.Addr, 0, len(n.Addrs))
	for _, a := range n.Addrs {
		if a.IsValid() {
			addrs = append(addrs, a.Unmap().WithZone(""))
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	n.Addrs = slices.Compact(addrs)
	routes := make([]netip.Prefix, 0, len(n.Routes))
	for _, r := range n.Routes {
		if r.IsValid() {
			routes = append(routes, r.Masked())
		}
	}
	slices.SortFunc(routes, netip.Prefix.Compare)
	n.Routes = slices.Compact(routes)
	return n
}

// same reports whether two canonical nodes are the same to any policy.
func (n *Node) same(o *Node) bool {
	return n.ID == o.ID && n.User == o.User && n.Admin == o.Admin &&
		slices.Equal(n.Tags, o.Tags) && slices.Equal(n.Addrs, o.Addrs) && slices.Equal(n.Routes, o.Routes)
}

// login returns the form in which logins are compared.
func login(user string) string { return strings.ToLower(strings.TrimSuffix(user, "@")) }

func (n *Node) tagged() bool { return len(n.Tags) > 0 }

func (n *Node) owns(addr netip.Addr) bool { return slices.Contains(n.Addrs, addr) }

func isExit(route netip.Prefix) bool { return route.Bits() == 0 }

// exits reports whether n leads to the internet.
func (n *Node) exits() bool { return slices.ContainsFunc(n.Routes, isExit) }

// leadsTo reports whether addr lies behind n, and whether it does so through
// its exit route alone.
func (n *Node) leadsTo(addr netip.Addr) (ok, viaExit bool) {
	for _, r := range n.Routes {
		if r.Contains(addr) {
			if !isExit(r) {
				return true, false
			}
			ok, viaExit = true, true
		}
	}
	return ok, viaExit
}
