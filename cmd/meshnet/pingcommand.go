package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
)

const pingHelp = `meshnet ping asks a node of the mesh whether it is there, and tells how long the
answer took and which path it came by.

Usage:

  meshnet ping [flags] NODE

NODE is the name or an address of a node. There are three kinds of pings:

  disco  goes beside the tunnel: is the node reached, and by which path?
  tsmp   goes through the tunnel: does WireGuard work?
  icmp   goes through the tunnel to the node's host: may we reach it at all?

A node that is first reached through a relay may soon be reached directly: disco
pings go on until it is, or until there were as many as -count says.

Flags:

FLAGS

It ends with the exit code 1 when no ping is answered.
`

// A pingConfig is the flags of meshnet ping.
type pingConfig struct {
	askConfig
	kind        string
	count       int
	timeout     time.Duration
	interval    time.Duration
	untilDirect bool
}

func (c *pingConfig) addFlags(fs *flag.FlagSet) {
	c.askConfig.addFlags(fs)
	fs.StringVar(&c.kind, "kind", string(meshnet.PingDisco), "`KIND` of ping: disco, tsmp or icmp")
	fs.IntVar(&c.count, "count", 10, "`NUMBER` of pings; 0 is no end")
	fs.DurationVar(&c.timeout, "timeout", 5*time.Second, "`TIME` for each answer")
	fs.DurationVar(&c.interval, "interval", time.Second, "`TIME` between pings")
	fs.BoolVar(&c.untilDirect, "until-direct", true, "end disco pings when one is answered by a direct path")
}

func (c *pingConfig) waitsFor() string { return "an answer" }

// pingParams is what a node is asked for.
type pingParams struct {
	Node    string // name or address
	Kind    meshnet.PingKind
	Timeout time.Duration
}

// shownPong is an answer, for programs. Latency is in nanoseconds.
type shownPong struct {
	Name    string
	Address netip.Addr
	Kind    meshnet.PingKind
	Latency time.Duration
	Direct  string `json:",omitempty"`
	Relay   string `json:",omitempty"`
}

// do has the node ping.
func (p pingParams) do(ctx context.Context, srv *meshnet.Server) (shownPong, error) {
	ip, err := findAddr(srv.Status(), p.Node)
	if err != nil {
		return shownPong{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	result, err := srv.Ping(ctx, ip, p.Kind)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer from %s within %v", p.Node, p.Timeout)
		}
		return shownPong{}, err
	}
	pong := shownPong{Name: result.Name, Address: ip, Kind: p.Kind, Latency: result.Latency, Relay: result.Path.Relay}
	if result.Path.Direct.IsValid() {
		pong.Direct = result.Path.Direct.String()
	}
	return pong, nil
}

// findAddr returns the address of the node with a name, short or full, or an
// address.
func findAddr(s *meshnet.Status, who string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(who); err == nil {
		return ip, nil
	}
	name := strings.ToLower(strings.TrimSuffix(who, "."))
	for _, p := range append(slices.Clone(s.Peers), s.Self) {
		if (name == p.Name || name == shortName(p.Name, s.Domain)) && len(p.Addresses) > 0 {
			return p.Addresses[0], nil
		}
	}
	return netip.Addr{}, fmt.Errorf("there is no node %q in the mesh: meshnet status lists those that this node may see", who)
}

func (c *pingConfig) run(ctx context.Context, w world, args []string) error {
	kind := meshnet.PingKind(c.kind)
	if !slices.Contains([]meshnet.PingKind{meshnet.PingDisco, meshnet.PingTSMP, meshnet.PingICMP}, kind) {
		return usagef("there is no kind of ping %q: want disco, tsmp or icmp", c.kind)
	}
	if c.timeout <= 0 || c.interval <= 0 || c.count < 0 {
		return usagef("-count, -timeout and -interval want more than nothing")
	}
	params := pingParams{args[0], kind, c.timeout}
	answers := 0
	var last error
	next := time.NewTicker(c.interval)
	defer next.Stop()
	for i := 0; c.count == 0 || i < c.count; i++ {
		pong, err := askNode[pingParams, shownPong](ctx, &c.askConfig, "ping", params)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if answers == 0 && !strings.HasPrefix(err.Error(), "no answer") {
				return err // it will not get better
			}
			fmt.Fprintln(w.stderr, plain(err.Error()))
			last = err
		} else {
			answers++
			if err := c.print(w, pong); err != nil {
				return err
			}
			if kind == meshnet.PingDisco && c.untilDirect && pong.Direct != "" {
				return nil
			}
		}
		if c.count == 0 || i+1 < c.count {
			select {
			case <-next.C:
			case <-ctx.Done():
			}
		}
	}
	if answers == 0 && last != nil {
		return fmt.Errorf("%s answers no %s ping; meshnet status and meshnet netcheck may tell why", args[0], kind)
	}
	return nil
}

func (c *pingConfig) print(w world, pong shownPong) error {
	if c.json {
		return printJSON(w.stdout, pong)
	}
	by := "relay " + pong.Relay
	if pong.Direct != "" {
		by = pong.Direct
	}
	_, err := fmt.Fprintf(w.stdout, "%s answer of %s (%s) by %s in %v\n", pong.Kind, plain(pong.Name), pong.Address, plain(by), showLatency(pong.Latency))
	return err
}

func showLatency(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
