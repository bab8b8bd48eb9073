package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/coord"
)

const routesHelp = `meshnet routes lists the ways that nodes offer to other networks, or to the
internet as exit nodes, and approves them. A route is in use when its node
advertises it and an administrator, or the policy, approves it.

Usage:

  meshnet routes -dir DIR [-json]
  meshnet routes approve|reject -dir DIR NODE [ROUTE...]

Examples:

  meshnet routes approve -dir mesh office 192.168.7.0/24
  meshnet routes approve -dir mesh office
      all that office advertises
  meshnet routes approve -dir mesh home exit
      home may be an exit node

NODE is a node's number, name or address. MESHNET_DIR may stand for -dir.

Flags:

FLAGS
`

func routeCommands() []command {
	return []command{
		{name: "list", summary: "list the routes", make: newAction[routesListConfig]},
		{name: "approve", args: "NODE [ROUTE...]", summary: "let a node have routes; without any, all that it advertises", make: newAction[routesApproveConfig]},
		{name: "reject", args: "NODE [ROUTE...]", summary: "take routes from a node; without any, all that it has", make: newAction[routesRejectConfig]},
	}
}

var listRoutes = operation[none, []coord.Route]{"routes", func(_ context.Context, s *coord.Server, _ none) ([]coord.Route, error) {
	return s.Routes(), nil
}}

// A routeParams is what an administrator says about routes of a node.
type routeParams struct {
	Node   string
	Routes []netip.Prefix // none: all
}

// routeOperation makes an operation on routes of a node; which says of those
// that it has whether they are meant by "all". The result are all of its routes.
func routeOperation(name string, which func(coord.Route) bool, do func(s *coord.Server, ctx context.Context, id int64, routes ...netip.Prefix) error) operation[routeParams, []coord.Route] {
	return operation[routeParams, []coord.Route]{"routes/" + name, func(ctx context.Context, s *coord.Server, p routeParams) ([]coord.Route, error) {
		n, err := findNode(s.Nodes(), p.Node)
		if err != nil {
			return nil, err
		}
		if len(p.Routes) == 0 {
			for _, r := range routesOf(s, n.ID) {
				if which(r) {
					p.Routes = append(p.Routes, r.Prefix)
				}
			}
		}
		if len(p.Routes) > 0 {
			err = do(s, ctx, n.ID, p.Routes...)
		}
		return routesOf(s, n.ID), err
	}}
}

var (
	approveRoutes = routeOperation("approve", func(r coord.Route) bool { return r.Advertised }, (*coord.Server).ApproveRoutes)
	rejectRoutes  = routeOperation("reject", func(r coord.Route) bool { return r.Approved }, (*coord.Server).RejectRoutes)
)

func routesOf(s *coord.Server, node int64) []coord.Route {
	return slices.DeleteFunc(s.Routes(), func(r coord.Route) bool { return r.Node != node })
}

// parseRoutes reads routes of the command line.
func parseRoutes(texts []string) ([]netip.Prefix, error) {
	var routes []netip.Prefix
	for _, text := range texts {
		r, err := parseRoute(text)
		if err != nil {
			return nil, usageError{err}
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func parseRoute(text string) (netip.Prefix, error) {
	if text == "exit" {
		return netip.MustParsePrefix("0.0.0.0/0"), nil // stands for both
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	r, err := netip.ParsePrefix(text)
	if err != nil {
		return r, fmt.Errorf("%q is no route; want one such as 192.168.7.0/24, or exit", text)
	}
	if r != r.Masked() {
		return r, fmt.Errorf("%v is an address in a network; the network is %v", r, r.Masked())
	}
	return r, nil
}

type routesListConfig struct{ adminConfig }

func (c *routesListConfig) run(ctx context.Context, w world, _ []string) error {
	routes, err := listRoutes.ask(ctx, &c.adminConfig, none{})
	return c.printRoutes(w.stdout, routes, err, "No node advertises a route.")
}

func (c *adminConfig) printRoutes(out io.Writer, routes []coord.Route, err error, empty string) error {
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(out, routes)
	}
	t := newTable("ROUTE", "NODE", "STATE")
	for _, r := range routes {
		t.add(r.Prefix.String(), r.Name, routeState(r))
	}
	return t.print(out, empty)
}

func routeState(r coord.Route) string {
	switch {
	case !r.Approved:
		return "waits for approval"
	case !r.Advertised:
		return "approved, but not advertised"
	case !r.Online:
		return "approved, offline"
	case r.Prefix.Bits() == 0:
		return "exit node"
	case r.Primary:
		return "in use"
	}
	return "approved, while another node has it"
}

type routesApproveConfig struct{ adminConfig }

func (c *routesApproveConfig) run(ctx context.Context, w world, args []string) error {
	return c.decide(ctx, w, args, approveRoutes, "The node advertises no routes.")
}

type routesRejectConfig struct{ adminConfig }

func (c *routesRejectConfig) run(ctx context.Context, w world, args []string) error {
	return c.decide(ctx, w, args, rejectRoutes, "The node has no routes.")
}

// decide approves or rejects routes, and shows what the node then has.
func (c *adminConfig) decide(ctx context.Context, w world, args []string, o operation[routeParams, []coord.Route], empty string) error {
	routes, err := parseRoutes(args[1:])
	if err != nil {
		return err
	}
	all, err := o.ask(ctx, c, routeParams{args[0], routes})
	return c.printRoutes(w.stdout, all, err, empty)
}
