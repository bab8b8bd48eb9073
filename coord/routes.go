package coord

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Route is a way through a node to addresses that are no node's.
type Route struct {
	Prefix     netip.Prefix // 0.0.0.0/0 and ::/0 are those of an exit node
	Node       int64
	Name       string // of the node
	Online     bool   // the node is
	Advertised bool   // the node offers the route
	Approved   bool   // by an administrator or the policy
	// Primary says that peers use this node for the route, and not another that
	// has it too. Exit nodes are not primaries: people choose one.
	Primary bool
}

// Routes returns all routes that nodes advertise or that are approved, in the
// order of prefixes and then of nodes. One that is advertised and approved is
// in use.
func (s *Server) Routes() []Route {
	var routes []Route
	now := s.current.Load()
	for _, n := range now.nodes {
		routes = append(routes, n.listRoutes(now.domain)...)
	}
	slices.SortStableFunc(routes, func(a, b Route) int { return comparePrefix(a.Prefix, b.Prefix) })
	return routes
}

func (n *node) listRoutes(domain string) (routes []Route) {
	all := slices.Concat(n.Hostinfo.RoutableIPs, n.Approved)
	slices.SortFunc(all, comparePrefix)
	for _, p := range slices.Compact(all) {
		routes = append(routes, Route{
			Prefix:     p,
			Node:       int64(n.ID),
			Name:       n.fullName(domain),
			Online:     n.online(),
			Advertised: slices.Contains(n.Hostinfo.RoutableIPs, p),
			Approved:   slices.Contains(n.Approved, p),
			Primary:    slices.Contains(n.Primary, p),
		})
	}
	return routes
}

// ApproveRoutes lets a node have routes, now or when it will advertise them.
// One of 0.0.0.0/0 and ::/0 stands for both.
func (s *Server) ApproveRoutes(ctx context.Context, id int64, routes ...netip.Prefix) error {
	routes, err := checkRoutes(routes)
	if err != nil {
		return err
	}
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error {
		changed := *n
		if changed.approve(routes...); len(changed.Approved) > maxRoutes {
			return fmt.Errorf("coord: a node may have %d routes", maxRoutes)
		}
		st.putNode(&changed)
		return nil
	})
}

// RejectRoutes takes routes away from a node. What the policy approves by
// itself comes back when the node advertises anew.
func (s *Server) RejectRoutes(ctx context.Context, id int64, routes ...netip.Prefix) error {
	routes, err := checkRoutes(routes)
	if err != nil {
		return err
	}
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error {
		st.change(n, func(n *node) {
			n.Approved = slices.DeleteFunc(slices.Clone(n.Approved), func(p netip.Prefix) bool { return slices.Contains(routes, p) })
		})
		return nil
	})
}

// checkRoutes returns the routes, with both of an exit node if it has one.
func checkRoutes(routes []netip.Prefix) ([]netip.Prefix, error) {
	for _, p := range routes {
		if !p.IsValid() || p != p.Masked() || len(usableRoutes([]netip.Prefix{p})) == 0 {
			return nil, fmt.Errorf("coord: %v cannot be a route: it is no prefix, or of addresses of the mesh", p)
		}
	}
	if slices.ContainsFunc(routes, isExit) {
		routes = append(slices.Clone(routes), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
	}
	return routes, nil
}
