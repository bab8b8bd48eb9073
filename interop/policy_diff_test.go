package interop

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	tsfilter "tailscale.com/wgengine/filter"

	"tailscale.com/types/logger"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/policy"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// TestPolicyVerdictsAreTheirs compiles random policies for random nodes, sends
// the rules as JSON, and puts random packets into our filter and into theirs:
// 10,000 policies, and ten packets for each.
func TestPolicyVerdictsAreTheirs(t *testing.T) {
	accepted := 0
	for seed := range uint64(10_000) {
		p := newPolicyCase(t, seed)
		for range 10 {
			c := p.packet()
			if c.isShortICMP() {
				continue
			}
			noErrors(t, c)
			sameVerdict(t, c)
			if c.ours() {
				accepted++
			}
		}
	}
	// Else the comparison would be of filters that drop, or accept, everything.
	if accepted < 10_000 || accepted > 90_000 {
		t.Errorf("of 100,000 packets %d were accepted", accepted)
	}
	t.Logf("of 100,000 packets %d were accepted", accepted)
}

// TestPolicyCapabilitiesAreTheirs asks both filters what a node may at another.
func TestPolicyCapabilitiesAreTheirs(t *testing.T) {
	found := 0
	for seed := range uint64(2000) {
		p := newPolicyCase(t, seed)
		from, to := pick(p.dice, p.nodes...), pick(p.dice, p.nodes...)
		rules := overTheWire(p.compiled.View(to.ID).Rules())
		ours, err := filter.Compile(filter.Config{Rules: rules})
		check(t, "our filter takes the rules", err)
		matches, err := tsfilter.MatchesFromFilterRules(filterCase{config: filter.Config{Rules: rules}}.theirRules())
		check(t, "their filter takes the rules", err)
		theirs := tsfilter.New(matches, nil, nil, nil, nil, logger.Discard)
		for i := range from.Addrs {
			want := theirCapTexts(theirs.CapsWithValues(from.Addrs[i], to.Addrs[i]))
			equal(t, fmt.Sprintf("what node %d may at node %d by the policy of seed %d", from.ID, to.ID, seed),
				capTexts(ours.Caps(from.Addrs[i], to.Addrs[i])), want)
			found += len(want)
		}
	}
	if found < 100 {
		t.Errorf("only %d capabilities were granted", found)
	}
}

// isShortICMP reports whether an ICMP packet ends within its header of eight
// bytes. Ours drops such, and theirs is content with four: that is no matter
// of policies.
func (c filterCase) isShortICMP() bool {
	header := 20
	if len(c.packet) > 0 && c.packet[0]>>4 == 6 {
		header = 40
	}
	return c.isICMP() && len(c.packet) < header+8
}

// noErrors fails the test when one of the filters skips a part of the rules.
func noErrors(t *testing.T, c filterCase) {
	t.Helper()
	_, err := filter.Compile(c.config)
	check(t, "our filter takes the rules", err)
	_, err = tsfilter.MatchesFromFilterRules(c.theirRules())
	check(t, "their filter takes the rules", err)
}

// policyCase is a random policy for six random nodes.
type policyCase struct {
	dice
	nodes    []policy.Node
	compiled *policy.Compiled
}

func newPolicyCase(t *testing.T, seed uint64) policyCase {
	t.Helper()
	c := policyCase{dice: dice{rand.New(rand.NewPCG(seed, 5))}}
	text := c.policyText()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("the policy is refused: %v\n%s", err, text)
	}
	for id := range tailcfg.NodeID(6) {
		c.nodes = append(c.nodes, c.policyNode(id+1))
	}
	c.compiled = p.Compile(c.nodes)
	return c
}

// packet returns a node's filter and a packet for it, mostly from one of the
// nodes.
func (c policyCase) packet() filterCase {
	from, to := pick(c.dice, c.nodes...), pick(c.dice, c.nodes...)
	v := pick(c.dice, 0, 0, 1)
	src, dst := from.Addrs[v], to.Addrs[v]
	if v == 0 && c.oneIn(3) {
		dst = netip.MustParseAddr(pick(c.dice, "10.1.2.3", "10.1.9.9", "9.9.9.9", "8.8.8.8", "192.168.1.1"))
	}
	if v == 0 && c.oneIn(6) {
		src = netip.MustParseAddr(pick(c.dice, "10.1.2.3", "10.9.9.9", "192.0.2.1"))
	}
	local := slices.Clone(to.Routes)
	for _, a := range to.Addrs {
		local = append(local, netip.PrefixFrom(a, a.BitLen()))
	}
	proto, port := c.proto(), c.port()
	fc := filterCase{config: filter.Config{Rules: overTheWire(c.compiled.View(to.ID).Rules()), Local: local}}
	fc.packet = c.dice.packet(proto, src, dst, 4000, port)
	if c.oneIn(4) {
		fc.sent = c.dice.packet(proto, dst, src, port, 4000)
	}
	return fc
}

// overTheWire returns rules as they arrive.
func overTheWire(rules []tailcfg.FilterRule) (arrived []tailcfg.FilterRule) {
	text, err := json.Marshal(rules)
	if err == nil {
		err = json.Unmarshal(text, &arrived)
	}
	if err != nil {
		panic(err)
	}
	return arrived
}

func (d dice) policyNode(id tailcfg.NodeID) policy.Node {
	n := policy.Node{
		ID:   id,
		User: pick(d, "a", "b", "c", "d"),
		Addrs: []netip.Addr{
			netip.MustParseAddr(fmt.Sprintf("100.64.0.%d", id)),
			netip.MustParseAddr(fmt.Sprintf("fd7a:115c:a1e0::%d", id)),
		},
	}
	n.Admin = n.User == "d"
	if d.oneIn(3) {
		n.Tags = pick(d, []string{"tag:x"}, []string{"tag:y"}, []string{"tag:x", "tag:y"})
	}
	for _, route := range pick(d, nil, nil, []string{"10.1.0.0/16"}, []string{"0.0.0.0/0", "::/0"}, []string{"9.9.9.0/24", "0.0.0.0/0"}) {
		n.Routes = append(n.Routes, netip.MustParsePrefix(route))
	}
	return n
}

// policyText writes a policy with everything that rules may have.
func (d dice) policyText() string {
	users := []string{"a@", "b@", "group:ab", "group:bc", "autogroup:member", "autogroup:admin"}
	srcs := append([]string{"*", "tag:x", "tag:y", "autogroup:tagged", "one", "low", "net", "100.64.0.5", "fd7a:115c:a1e0::/125"}, users...)
	dsts := append([]string{"autogroup:internet", "public", "0.0.0.0/0", "10.1.2.0/24"}, srcs...)
	var acls, grants []string
	for range 1 + d.IntN(4) {
		from, to := srcs, dsts
		if d.oneIn(4) { // autogroup:self wants sources that have users
			from, to = users, append([]string{"autogroup:self", "autogroup:self"}, dsts...)
		}
		switch d.IntN(5) {
		case 0, 1:
			proto, ports := pick(d, "", "", "tcp", "udp", "sctp"), []string{"*", "22", "80,443", "20-1024"}
			if d.oneIn(5) {
				proto, ports = pick(d, "icmp", "ipv6-icmp", "gre", "igmp"), ports[:1]
			}
			acls = append(acls, fmt.Sprintf(`{"action": "accept", "proto": %q, "src": %s, "dst": %s}`, proto, d.list(from, nil), d.list(to, ports)))
		case 2, 3:
			ip := d.list([]string{"*", "22", "tcp:80-443", "tcp:22", "udp:*", "udp:53", "gre:*", "icmp:*", "sctp:80"}, nil)
			grants = append(grants, fmt.Sprintf(`{"src": %s, "dst": %s, "ip": %s}`, d.list(from, nil), d.list(to, nil), ip))
		default:
			app := pick(d, `{"x.y/z": [1, {"a": [null]}]}`, `{"x.y/z": [], "x.y/w": ["b"]}`)
			grants = append(grants, fmt.Sprintf(`{"src": %s, "dst": %s, "app": %s}`, d.list(from, nil), d.list(to, nil), app))
		}
	}
	return fmt.Sprintf(`{
		"groups": {"group:ab": ["a@", "b@"], "group:bc": ["b@", "c@"]},
		"tagOwners": {"tag:x": [], "tag:y": []},
		"hosts": {"one": "100.64.0.1", "low": "100.64.0.0/30", "net": "10.1.0.0/16", "public": "9.9.9.0/24"},
		"acls": [%s],
		"grants": [%s],
	}`, strings.Join(acls, ", "), strings.Join(grants, ", "))
}

// list writes one to three of names, with ports where there are some.
func (d dice) list(names, ports []string) string {
	var list []string
	for range 1 + d.IntN(3) {
		name := pick(d, names...)
		if ports != nil {
			name += ":" + pick(d, ports...)
		}
		list = append(list, fmt.Sprintf("%q", name))
	}
	return "[" + strings.Join(list, ", ") + "]"
}
