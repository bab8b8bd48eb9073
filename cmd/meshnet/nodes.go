package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

const nodesHelp = `meshnet nodes lists the nodes of the mesh and those that wait to be let in, and
changes them. NODE is a node's number, name or address.

Usage:

  meshnet nodes -dir DIR [-json]
  meshnet nodes COMMAND -dir DIR [flags] ...

Examples:

  meshnet nodes -dir mesh
  meshnet nodes approve -dir mesh -user ann http://127.0.0.1:8080/login/...
      lets a node in that came without an auth key and was given that URL
  meshnet nodes rename -dir mesh 7 www
  meshnet nodes tag -dir mesh www tag:web

MESHNET_DIR may stand for -dir.

Flags:

FLAGS
`

func nodeCommands() []command {
	return []command{
		{name: "list", summary: "list the nodes, and those that wait to be let in", make: newAction[nodesListConfig]},
		{name: "show", args: "NODE", summary: "tell all about a node", make: newAction[nodesShowConfig]},
		{name: "waiting", summary: "list the nodes that wait to be let in", make: newAction[waitingConfig]},
		{name: "approve", args: "URL", summary: "let in the node that was given this login URL, or its last part", make: newAction[approveConfig]},
		{name: "reject", args: "URL", summary: "turn away the node that was given this login URL, or its last part", make: newAction[rejectConfig]},
		{name: "rename", args: "NODE [NAME]", summary: "give a node another name; without one, the name it asks for", make: newAction[renameConfig]},
		{name: "tag", args: "NODE [TAG...]", summary: "give a node these tags in place of those it has; it then acts for itself", make: newAction[tagConfig]},
		{name: "give", args: "NODE LOGIN", summary: "give a node to another user", make: newAction[giveConfig]},
		{name: "expire", args: "NODE...", summary: "log nodes out: they must be let in anew, and keep names and addresses", make: newAction[expireConfig]},
		{name: "renew", args: "NODE...", summary: "let nodes stay, also such as have expired", make: newAction[renewConfig]},
		{name: "remove", args: "NODE...", summary: "forget nodes: they can only come back as new ones", make: newAction[removeConfig]},
	}
}

var listNodes = operation[none, []coord.Node]{"nodes", func(_ context.Context, s *coord.Server, _ none) ([]coord.Node, error) {
	return s.Nodes(), nil
}}

// A nodeParams is what an administrator wants of some nodes.
type nodeParams[T any] struct {
	Nodes []string // numbers, names or addresses
	To    T
}

// nodeOperation makes an operation on nodes. Its result are the nodes as they
// are then, or as they were if they are gone.
func nodeOperation[T any](name string, do func(ctx context.Context, s *coord.Server, n coord.Node, to T) error) operation[nodeParams[T], []coord.Node] {
	return operation[nodeParams[T], []coord.Node]{"nodes/" + name, func(ctx context.Context, s *coord.Server, p nodeParams[T]) ([]coord.Node, error) {
		nodes, err := findNodes(s.Nodes(), p.Nodes)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			if err := do(ctx, s, n, p.To); err != nil {
				return nil, err
			}
		}
		now := s.Nodes()
		for i, n := range nodes {
			if j := slices.IndexFunc(now, func(m coord.Node) bool { return m.ID == n.ID }); j >= 0 {
				nodes[i] = now[j]
			}
		}
		return nodes, nil
	}}
}

var (
	showNode   = nodeOperation("show", func(context.Context, *coord.Server, coord.Node, none) error { return nil })
	renameNode = nodeOperation("rename", func(ctx context.Context, s *coord.Server, n coord.Node, name string) error {
		return s.RenameNode(ctx, n.ID, name)
	})
	tagNode = nodeOperation("tag", func(ctx context.Context, s *coord.Server, n coord.Node, tags []string) error {
		return s.SetNodeTags(ctx, n.ID, tags)
	})
	giveNode = nodeOperation("give", func(ctx context.Context, s *coord.Server, n coord.Node, login string) error {
		return adviseUser(login, s.SetNodeUser(ctx, n.ID, login))
	})
	expireNodes = nodeOperation("expire", func(ctx context.Context, s *coord.Server, n coord.Node, _ none) error {
		return s.ExpireNode(ctx, n.ID)
	})
	renewNodes = nodeOperation("renew", func(ctx context.Context, s *coord.Server, n coord.Node, until time.Time) error {
		return s.RenewNode(ctx, n.ID, until)
	})
	removeNodes = nodeOperation("remove", func(ctx context.Context, s *coord.Server, n coord.Node, _ none) error {
		return s.RemoveNode(ctx, n.ID)
	})
)

// findNodes returns the node that each of the texts names.
func findNodes(all []coord.Node, texts []string) ([]coord.Node, error) {
	var found []coord.Node
	for _, text := range texts {
		n, err := findNode(all, text)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f coord.Node) bool { return f.ID == n.ID }) {
			found = append(found, n)
		}
	}
	return found, nil
}

// findNode returns the node with a number, name or address. A node may call
// itself what is another's number: then it is asked for by something else.
func findNode(all []coord.Node, text string) (coord.Node, error) {
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	var found []coord.Node
	for _, n := range all {
		if slices.Contains([]string{strconv.FormatInt(n.ID, 10), label(n), n.Name, n.IPv4.String(), n.IPv6.String()}, text) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return coord.Node{}, fmt.Errorf("there is no node %q: meshnet nodes lists them", text)
	case 1:
		return found[0], nil
	}
	return coord.Node{}, fmt.Errorf("%q is a number and a name: say %s or %s", text, found[0].Name, found[1].Name)
}

// label returns a node's name as its neighbours write it.
func label(n coord.Node) string {
	name, _, _ := strings.Cut(n.Name, ".")
	return name
}

type nodesListConfig struct{ adminConfig }

func (c *nodesListConfig) run(ctx context.Context, w world, _ []string) error {
	nodes, err := listNodes.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.down {
		fmt.Fprintf(w.stderr, "No coordinator runs in %s: the nodes are shown as the last one left them.\n", c.dir)
	}
	if c.json {
		return printJSON(w.stdout, nodes)
	}
	waiting, err := listWaiting.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if err := nodeTable(nodes).print(w.stdout, "There are no nodes yet; meshnet authkey makes a key that admits some."); err != nil || len(waiting) == 0 {
		return err
	}
	fmt.Fprintf(w.stdout, "\nThese wait to be let in:\n\n")
	return printWaiting(w.stdout, waiting)
}

func nodeTable(nodes []coord.Node) *table {
	t := newTable("ID", "NAME", "ADDRESS", "USER", "OS", "STATE", "EXPIRES")
	for _, n := range nodes {
		t.add(strconv.FormatInt(n.ID, 10), label(n), n.IPv4.String(), owner(n), n.OS, nodeState(n), showTime(n.KeyExpiry))
	}
	return t
}

// owner returns who a node acts for.
func owner(n coord.Node) string {
	if len(n.Tags) > 0 {
		return strings.Join(n.Tags, ",")
	}
	return n.User
}

func nodeState(n coord.Node) string {
	state := "offline since " + showTime(n.LastSeen)
	if n.Online {
		state = "online"
	}
	if n.Expired {
		state = "expired, " + state
	}
	if n.Ephemeral {
		state += ", ephemeral"
	}
	return state
}

type nodesShowConfig struct{ adminConfig }

func (c *nodesShowConfig) run(ctx context.Context, w world, args []string) error {
	nodes, err := showNode.ask(ctx, &c.adminConfig, nodeParams[none]{Nodes: args})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, nodes[0])
	}
	return describeNode(nodes[0]).print(w.stdout, "")
}

func describeNode(n coord.Node) *table {
	var endpoints, latency []string
	for _, e := range n.Endpoints {
		endpoints = append(endpoints, e.String())
	}
	for region, d := range n.Latency {
		latency = append(latency, fmt.Sprintf("%d: %v", region, d.Round(100*time.Microsecond)))
	}
	slices.Sort(latency)
	t := newTable("ID", strconv.FormatInt(n.ID, 10))
	t.add("Name", n.Name)
	t.add("Calls itself", n.Hostname)
	t.add("OS", n.OS)
	t.add("Addresses", n.IPv4.String()+", "+n.IPv6.String())
	t.add("User", n.User)
	t.add("Tags", strings.Join(n.Tags, ", "))
	t.add("State", nodeState(n))
	t.add("Created", showTime(n.Created))
	t.add("Key expires", showTime(n.KeyExpiry))
	t.add("Home relay", strconv.Itoa(n.HomeDERP))
	t.add("Relays' latency", strings.Join(latency, ", "))
	t.add("Endpoints", strings.Join(endpoints, ", "))
	t.add("Node key", n.Key.String())
	t.add("Machine key", n.Machine.String())
	return t
}

// told prints nodes that have been changed: all as JSON, or a sentence on each.
func (c *adminConfig) told(out io.Writer, nodes []coord.Node, sentence func(n coord.Node) string) error {
	if c.json {
		return printJSON(out, nodes)
	}
	for _, n := range nodes {
		fmt.Fprintln(out, plain(sentence(n)))
	}
	return nil
}

type renameConfig struct{ adminConfig }

func (c *renameConfig) run(ctx context.Context, w world, args []string) error {
	name := ""
	if len(args) > 1 {
		name = args[1]
	}
	nodes, err := renameNode.ask(ctx, &c.adminConfig, nodeParams[string]{args[:1], name})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string { return fmt.Sprintf("Node %d is %s.", n.ID, n.Name) })
}

type tagConfig struct{ adminConfig }

func (c *tagConfig) run(ctx context.Context, w world, args []string) error {
	tags := list[string]{parse: parseTag}
	for _, text := range args[1:] {
		if err := tags.Set(text); err != nil {
			return usageError{err}
		}
	}
	nodes, err := tagNode.ask(ctx, &c.adminConfig, nodeParams[[]string]{args[:1], tags.values})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string {
		if len(n.Tags) == 0 {
			return fmt.Sprintf("%s has no tags, and acts for the user %s.", n.Name, n.User)
		}
		return fmt.Sprintf("%s has the tags %s.", n.Name, strings.Join(n.Tags, ", "))
	})
}

type giveConfig struct{ adminConfig }

func (c *giveConfig) run(ctx context.Context, w world, args []string) error {
	nodes, err := giveNode.ask(ctx, &c.adminConfig, nodeParams[string]{args[:1], args[1]})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string { return fmt.Sprintf("%s belongs to the user %s.", n.Name, n.User) })
}

type expireConfig struct{ adminConfig }

func (c *expireConfig) run(ctx context.Context, w world, args []string) error {
	nodes, err := expireNodes.ask(ctx, &c.adminConfig, nodeParams[none]{Nodes: args})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string {
		return n.Name + " is logged out, until it is let in anew or meshnet nodes renew lets it stay."
	})
}

type renewConfig struct {
	adminConfig
	time time.Duration
}

func (c *renewConfig) addFlags(fs *flag.FlagSet) {
	c.adminConfig.addFlags(fs)
	fs.Func("for", "`TIME` for which the nodes may stay, such as 12h or 180d (default: for ever)", func(text string) (err error) {
		c.time, err = parseTime(text)
		return err
	})
}

func (c *renewConfig) run(ctx context.Context, w world, args []string) error {
	var until time.Time
	if c.time > 0 {
		until = time.Now().Add(c.time)
	}
	nodes, err := renewNodes.ask(ctx, &c.adminConfig, nodeParams[time.Time]{args, until})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string {
		if n.KeyExpiry.IsZero() {
			return n.Name + " may stay for ever."
		}
		return n.Name + " may stay until " + showTime(n.KeyExpiry) + "."
	})
}

type removeConfig struct{ adminConfig }

func (c *removeConfig) run(ctx context.Context, w world, args []string) error {
	nodes, err := removeNodes.ask(ctx, &c.adminConfig, nodeParams[none]{Nodes: args})
	if err != nil {
		return err
	}
	return c.told(w.stdout, nodes, func(n coord.Node) string { return n.Name + " is removed." })
}

// adviseUser says what to do about a user who is not there.
func adviseUser(login string, err error) error {
	if login != "" && errors.Is(err, coord.ErrNotFound) {
		return fmt.Errorf("there is no user %q: meshnet users add makes one, meshnet users lists them", login)
	}
	return err
}
