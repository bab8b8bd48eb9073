package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/coord"
)

const dnsHelp = `meshnet dns lists what nodes resolve besides the names of nodes, and changes it:
records, DNS servers for some domains, and for all else.

Usage:

  meshnet dns -dir DIR [-json]
  meshnet dns COMMAND -dir DIR ...

Examples:

  meshnet dns add -dir mesh db 100.64.0.7
      the name db in the domain of the mesh
  meshnet dns add -dir mesh git.example.com 100.64.0.7
  meshnet dns split -dir mesh corp.example.com 10.0.0.53
      that DNS server answers for corp.example.com
  meshnet dns resolvers -dir mesh 9.9.9.9
      and this one for all names of the internet

A SERVER is an address, with a port or without, or an https URL. MESHNET_DIR may
stand for -dir.

Flags:

FLAGS
`

func dnsCommands() []command {
	return []command{
		{name: "list", summary: "list all that is set", make: newAction[dnsListConfig]},
		{name: "add", args: "NAME ADDRESS", summary: "add a record", make: newAction[dnsAddConfig]},
		{name: "remove", args: "NAME [ADDRESS]", summary: "remove a record; without the address, all of the name", make: newAction[dnsRemoveConfig]},
		{name: "split", args: "DOMAIN SERVER...", summary: "have these DNS servers answer for a domain", make: newAction[dnsSplitConfig]},
		{name: "unsplit", args: "DOMAIN", summary: "treat a domain as all others again", make: newAction[dnsUnsplitConfig]},
		{name: "resolvers", args: "[SERVER...]", summary: "have these DNS servers answer for all else; without any, those that each node has", make: newAction[dnsResolversConfig]},
	}
}

var getDNS = operation[none, coord.DNS]{"dns", func(ctx context.Context, s *coord.Server, _ none) (coord.DNS, error) {
	d, err := s.DNS(ctx)
	if d == nil {
		d = new(coord.DNS)
	}
	return *d, err
}}

// A dnsChange is one thing that an administrator wants of DNS.
type dnsChange struct {
	Add       *coord.Record       `json:",omitempty"`
	Remove    *coord.Record       `json:",omitempty"` // with no address: all of the name
	Split     map[string][]string `json:",omitempty"`
	Unsplit   string              `json:",omitempty"`
	Resolvers *[]string           `json:",omitempty"`
}

var changeDNS = operation[dnsChange, coord.DNS]{"dns/change", func(ctx context.Context, s *coord.Server, c dnsChange) (coord.DNS, error) {
	d, err := getDNS.do(ctx, s, none{})
	if err == nil {
		err = c.apply(&d, s.Status().Domain)
	}
	if err == nil {
		err = s.SetDNS(ctx, &d)
	}
	return d, err
}}

// apply makes the change. A name without a dot is one in the domain.
func (c *dnsChange) apply(d *coord.DNS, domain string) error {
	if c.Add != nil {
		r := coord.Record{Name: qualified(c.Add.Name, domain), Addr: c.Add.Addr}
		if !slices.Contains(d.Records, r) {
			d.Records = append(d.Records, r)
		}
	}
	if c.Remove != nil {
		if err := removeRecord(d, qualified(c.Remove.Name, domain), c.Remove.Addr); err != nil {
			return err
		}
	}
	for name, servers := range c.Split {
		if d.Split == nil {
			d.Split = make(map[string][]string)
		}
		d.Split[canonicalName(name)] = servers
	}
	if c.Unsplit != "" {
		name := canonicalName(c.Unsplit)
		if _, ok := d.Split[name]; !ok {
			return fmt.Errorf("no DNS servers are set for %s: meshnet dns lists those that are", name)
		}
		delete(d.Split, name)
	}
	if c.Resolvers != nil {
		d.Resolvers = *c.Resolvers
	}
	return nil
}

func removeRecord(d *coord.DNS, name string, addr netip.Addr) error {
	before := len(d.Records)
	d.Records = slices.DeleteFunc(d.Records, func(r coord.Record) bool {
		return r.Name == name && (!addr.IsValid() || r.Addr == addr)
	})
	if len(d.Records) == before {
		return fmt.Errorf("there is no such record of %s: meshnet dns lists them", name)
	}
	return nil
}

func canonicalName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func qualified(name, domain string) string {
	if name = canonicalName(name); !strings.Contains(name, ".") {
		name += "." + domain
	}
	return name
}

type dnsListConfig struct{ adminConfig }

func (c *dnsListConfig) run(ctx context.Context, w world, _ []string) error {
	d, err := getDNS.ask(ctx, &c.adminConfig, none{})
	return c.printDNS(w, d, err)
}

func (c *adminConfig) printDNS(w world, d coord.DNS, err error) error {
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, d)
	}
	t := newTable("NAMES", "ANSWER")
	slices.SortFunc(d.Records, func(a, b coord.Record) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Addr.Compare(b.Addr)) })
	for _, r := range d.Records {
		t.add(r.Name, r.Addr.String())
	}
	for _, domain := range slices.Sorted(maps.Keys(d.Split)) {
		t.add("below "+domain, "of "+cmp.Or(strings.Join(d.Split[domain], ", "), "the nodes themselves"))
	}
	if len(d.Resolvers) > 0 {
		t.add("all others", "of "+strings.Join(d.Resolvers, ", "))
	}
	return t.print(w.stdout, "Nodes resolve the names of nodes, and what they resolve without the mesh.")
}

func (c *adminConfig) changeDNS(ctx context.Context, w world, change dnsChange) error {
	d, err := changeDNS.ask(ctx, c, change)
	return c.printDNS(w, d, err)
}

func parseAddress(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return addr, usagef("%q is no address", text)
	}
	return addr, nil
}

type dnsAddConfig struct{ adminConfig }

func (c *dnsAddConfig) run(ctx context.Context, w world, args []string) error {
	addr, err := parseAddress(args[1])
	if err != nil {
		return err
	}
	return c.changeDNS(ctx, w, dnsChange{Add: &coord.Record{Name: args[0], Addr: addr}})
}

type dnsRemoveConfig struct{ adminConfig }

func (c *dnsRemoveConfig) run(ctx context.Context, w world, args []string) (err error) {
	r := &coord.Record{Name: args[0]}
	if len(args) > 1 {
		if r.Addr, err = parseAddress(args[1]); err != nil {
			return err
		}
	}
	return c.changeDNS(ctx, w, dnsChange{Remove: r})
}

type dnsSplitConfig struct{ adminConfig }

func (c *dnsSplitConfig) run(ctx context.Context, w world, args []string) error {
	return c.changeDNS(ctx, w, dnsChange{Split: map[string][]string{args[0]: args[1:]}})
}

type dnsUnsplitConfig struct{ adminConfig }

func (c *dnsUnsplitConfig) run(ctx context.Context, w world, args []string) error {
	if args[0] == "" {
		return usageError{errors.New("the domain is empty")}
	}
	return c.changeDNS(ctx, w, dnsChange{Unsplit: args[0]})
}

type dnsResolversConfig struct{ adminConfig }

func (c *dnsResolversConfig) run(ctx context.Context, w world, args []string) error {
	servers := append([]string{}, args...) // not nil, which would be no change
	return c.changeDNS(ctx, w, dnsChange{Resolvers: &servers})
}
