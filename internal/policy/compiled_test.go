package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// mesh is what the scenarios are about: alice has 1 and 2, bob 3, carol 4; 5 and
// 6 are web servers, of which 6 is a router; 7 is an exit node of alice.
func mesh() []Node {
	at := func(id tailcfg.NodeID, n Node) Node {
		n.ID = id
		n.Addrs = addrs(fmt.Sprintf("100.64.0.%d", id), fmt.Sprintf("fd7a:115c:a1e0::%d", id))
		return n
	}
	return []Node{
		at(1, Node{User: "alice@example.com"}), at(2, Node{User: "alice@example.com"}),
		at(3, Node{User: "Bob@"}), at(4, Node{User: "carol", Admin: true}),
		at(5, Node{Tags: []string{"tag:web"}}),
		at(6, Node{Tags: []string{"tag:web", "tag:router"}, Routes: prefixes("10.1.0.0/16")}),
		at(7, Node{User: "alice@example.com", Routes: prefixes("0.0.0.0/0", "::/0")}),
	}
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

const names = `
	"groups": {"group:dev": ["alice@example.com", "bob@"]},
	"tagOwners": {"tag:web": [], "tag:router": []},
	"hosts": {"three": "100.64.0.3", "low": "100.64.0.0/30", "office": "10.1.0.0/16", "resolver": "9.9.9.9"},
`

func acl(src, dst string) string {
	return `"acls": [{"action": "accept", "src": ["` + src + `"], "dst": ["` + dst + `"]}]`
}

// show writes rules as "sources > destinations", one in a line.
func show(rules []tailcfg.FilterRule) string {
	var lines []string
	for _, r := range rules {
		var dsts []string
		for _, d := range r.DstPorts {
			dsts = append(dsts, d.IP+" "+portsText(nil, []tailcfg.PortRange{d.Ports}))
		}
		for _, g := range r.CapGrant {
			caps, _ := json.Marshal(g.CapMap)
			dsts = append(dsts, fmt.Sprintf("%v %s", g.Dsts, caps))
		}
		line := strings.Join(r.SrcIPs, ", ") + " > " + strings.Join(dsts, ", ")
		if r.IPProto != nil {
			line += fmt.Sprint(" by ", r.IPProto)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestViews(t *testing.T) {
	type view struct {
		peers string
		rules string
	}
	for _, test := range []struct {
		name, policy string
		want         map[tailcfg.NodeID]view
	}{
		{"no rules", `"acls": []`, map[tailcfg.NodeID]view{1: {"[]", ""}}},
		{"all", acl("*", "*:*"), map[tailcfg.NodeID]view{
			1: {"[2 3 4 5 6 7]", "* > * *"},
			6: {"[1 2 3 4 5 7]", "* > * *"},
		}},
		{"a group to a tag", acl("group:dev", "tag:web:22,80-90"), map[tailcfg.NodeID]view{
			1: {"[5 6]", ""},
			3: {"[5 6]", ""},
			4: {"[]", ""},
			5: {"[1 2 3 7]", "100.64.0.1-100.64.0.3, 100.64.0.7, fd7a:115c:a1e0::1-fd7a:115c:a1e0::3, fd7a:115c:a1e0::7 > " +
				"100.64.0.5 22, 100.64.0.5 80-90, fd7a:115c:a1e0::5 22, fd7a:115c:a1e0::5 80-90"},
		}},
		{"a group to itself", acl("group:dev", "group:dev:22"), map[tailcfg.NodeID]view{
			1: {"[2 3 7]", "100.64.0.1-100.64.0.3, 100.64.0.7, fd7a:115c:a1e0::1-fd7a:115c:a1e0::3, fd7a:115c:a1e0::7 > 100.64.0.1 22, fd7a:115c:a1e0::1 22"},
			4: {"[]", ""},
		}},
		{"self", acl("autogroup:member", "autogroup:self:22"), map[tailcfg.NodeID]view{
			1: {"[2 7]", "100.64.0.1-100.64.0.2, 100.64.0.7, fd7a:115c:a1e0::1-fd7a:115c:a1e0::2, fd7a:115c:a1e0::7 > 100.64.0.1 22, fd7a:115c:a1e0::1 22"},
			3: {"[]", "100.64.0.3, fd7a:115c:a1e0::3 > 100.64.0.3 22, fd7a:115c:a1e0::3 22"},
			5: {"[]", ""},
		}},
		{"self for all", acl("*", "autogroup:self:22"), map[tailcfg.NodeID]view{
			1: {"[2 7]", "100.64.0.1-100.64.0.2, 100.64.0.7, fd7a:115c:a1e0::1-fd7a:115c:a1e0::2, fd7a:115c:a1e0::7 > 100.64.0.1 22, fd7a:115c:a1e0::1 22"},
			5: {"[]", ""},
		}},
		{"an address is a node", acl("three", "100.64.0.5:22"), map[tailcfg.NodeID]view{
			3: {"[5]", ""},
			5: {"[3]", "100.64.0.3, fd7a:115c:a1e0::3, 100.64.0.3 > 100.64.0.5 22, fd7a:115c:a1e0::5 22"},
		}},
		{"a prefix is addresses", acl("low", "fd7a:115c:a1e0::4/126:22"), map[tailcfg.NodeID]view{
			1: {"[4 5 6 7]", ""},
			4: {"[1 2 3]", "100.64.0.0/30 > fd7a:115c:a1e0::4/126 22"},
		}},
		{"a subnet behind a router", acl("carol@", "10.1.2.0/24:443"), map[tailcfg.NodeID]view{
			4: {"[6]", ""},
			6: {"[4]", "100.64.0.4, fd7a:115c:a1e0::4 > 10.1.2.0/24 443"},
			7: {"[]", ""}, // the exit node leads to the internet alone
		}},
		{"a subnet as source", acl("office", "tag:web:443"), map[tailcfg.NodeID]view{
			5: {"[6]", "10.1.0.0/16 > 100.64.0.5 443, fd7a:115c:a1e0::5 443"},
			6: {"[5]", "10.1.0.0/16 > 100.64.0.6 443, fd7a:115c:a1e0::6 443"},
		}},
		{"the internet", acl("bob@", "autogroup:internet:443"), map[tailcfg.NodeID]view{
			3: {"[7]", ""},
			6: {"[]", ""},
			7: {"[3]", "100.64.0.3, fd7a:115c:a1e0::3 > 0.0.0.0-9.255.255.255 443, 11.0.0.0-100.63.255.255 443, 100.128.0.0-126.255.255.255 443, " +
				"128.0.0.0-169.253.255.255 443, 169.255.0.0-172.15.255.255 443, 172.32.0.0-192.167.255.255 443, 192.169.0.0-223.255.255.255 443, " +
				"240.0.0.0-255.255.255.255 443, 2000::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 443"},
		}},
		{"a public address", acl("bob@", "resolver:53"), map[tailcfg.NodeID]view{
			7: {"[3]", "100.64.0.3, fd7a:115c:a1e0::3 > 9.9.9.9 53"},
		}},
		{"administrators and tags", acl("autogroup:admin", "autogroup:tagged:22"), map[tailcfg.NodeID]view{
			1: {"[]", ""},
			4: {"[5 6]", ""},
			6: {"[4]", "100.64.0.4, fd7a:115c:a1e0::4 > 100.64.0.6 22, fd7a:115c:a1e0::6 22"},
		}},
		{"grants", `"grants": [{"src": ["carol@"], "dst": ["tag:router", "office"], "ip": ["tcp:443", "udp:53", "80", "tcp:1"], "app": {"x.y/z": [{"a": 1}]}}]`,
			map[tailcfg.NodeID]view{
				5: {"[]", ""},
				6: {"[4]", "100.64.0.4, fd7a:115c:a1e0::4 > 100.64.0.6 443, 100.64.0.6 1, fd7a:115c:a1e0::6 443, fd7a:115c:a1e0::6 1, 10.1.0.0/16 443, 10.1.0.0/16 1 by [6]\n" +
					"100.64.0.4, fd7a:115c:a1e0::4 > 100.64.0.6 53, fd7a:115c:a1e0::6 53, 10.1.0.0/16 53 by [17]\n" +
					"100.64.0.4, fd7a:115c:a1e0::4 > 100.64.0.6 80, fd7a:115c:a1e0::6 80, 10.1.0.0/16 80\n" +
					`100.64.0.4, fd7a:115c:a1e0::4 > [100.64.0.6/32 fd7a:115c:a1e0::6/128 10.1.0.0/16] {"x.y/z":[{"a":1}]}`},
			}},
		{"a capability everywhere", `"grants": [{"src": ["*"], "dst": ["*"], "app": {"x.y/z": []}}]`, map[tailcfg.NodeID]view{
			1: {"[2 3 4 5 6 7]", `* > [100.64.0.1/32 fd7a:115c:a1e0::1/128] {"x.y/z":[]}`},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := parse(t, "{"+names+test.policy+"}").Compile(mesh())
			for id, want := range test.want {
				v := c.View(id)
				if got := fmt.Sprint(slices.AppendSeq([]tailcfg.NodeID{}, v.Peers())); got != want.peers {
					t.Errorf("node %d sees %s, and should see %s", id, got, want.peers)
				}
				if got := show(v.Rules()); got != want.rules || v.Rules() == nil {
					t.Errorf("the rules of node %d are\n%s\nnot\n%s", id, got, want.rules)
				}
			}
		})
	}
}

func TestUpdateAltersOnlyWhatItConcerns(t *testing.T) {
	p := parse(t, "{"+names+`"acls": [
		{"action": "accept", "src": ["group:dev"], "dst": ["tag:web:22"]},
		{"action": "accept", "src": ["carol@"], "dst": ["carol@:*", "office:443"]},
	]}`)
	old := p.Compile(mesh())
	same := old.Update(mesh(), 99)
	if same != old {
		t.Error("nothing changed, and the policy is another")
	}
	views := func(c *Compiled) (list []*View) {
		for id := range tailcfg.NodeID(10) {
			list = append(list, c.View(id))
		}
		return list
	}
	differ := func(a, b *Compiled) (ids []int) {
		after := views(b)
		for i, v := range views(a) {
			if v != after[i] {
				ids = append(ids, i)
			}
		}
		return ids
	}
	for _, step := range []struct {
		name   string
		update []Node
		remove []tailcfg.NodeID
		want   string
	}{
		{"a node of bob comes: the web servers see it", []Node{{ID: 8, User: "bob", Addrs: addrs("100.64.0.8")}}, nil, "[5 6 8]"},
		{"it becomes carol's", []Node{{ID: 8, User: "carol", Addrs: addrs("100.64.0.8")}}, nil, "[4 5 6 8]"},
		{"it goes", nil, []tailcfg.NodeID{8}, "[4 6 8]"},
		{"a router loses its route: carol need not see it", []Node{{ID: 6, Tags: []string{"tag:web"}, Addrs: addrs("100.64.0.6")}}, nil, "[1 2 3 4 6 7]"},
		{"a stranger comes", []Node{{ID: 9, User: "dave", Addrs: addrs("100.64.0.9")}}, nil, "[9]"},
		{"one in two forms", []Node{{ID: 9, User: "bob", Addrs: addrs("100.64.0.9")}, {ID: 9, User: "dave", Addrs: addrs("100.64.0.9")}}, nil, "[]"},
	} {
		next := old.Update(step.update, step.remove...)
		if got := fmt.Sprint(differ(old, next)); got != step.want {
			t.Errorf("%s: the views of %s are others, and of %s should be", step.name, got, step.want)
		}
		old = next
	}
}

// dice makes policies, nodes and traffic.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) some(from ...string) string {
	var list []string
	for range 1 + d.IntN(3) {
		list = append(list, fmt.Sprintf("%q", pick(d, from...)))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func (d dice) policy() string {
	users := []string{"a@", "b@", "group:ab", "group:bc", "autogroup:member", "autogroup:admin"}
	srcs := append([]string{"*", "tag:x", "tag:y", "autogroup:tagged", "one", "low", "net", "100.64.0.5", "fd7a:115c:a1e0::/125"}, users...)
	dsts := append([]string{"autogroup:internet", "pub", "0.0.0.0/0", "net2", "10.1.2.3"}, srcs...)
	var acls, grants []string
	for range d.IntN(4) {
		from, to := srcs, dsts
		if d.IntN(4) == 0 {
			from, to = users, append([]string{"autogroup:self", "autogroup:self"}, dsts...)
		}
		if d.IntN(2) == 0 {
			proto, ports := pick(d, "", "", "tcp", "udp", "sctp"), []string{":*", ":22", ":80,443", ":100-200"}
			if d.IntN(5) == 0 {
				proto, ports = pick(d, "icmp", "gre", "89"), ports[:1]
			}
			var with []string
			for _, s := range to {
				with = append(with, s+pick(d, ports...))
			}
			acls = append(acls, fmt.Sprintf(`{"action": "accept", "proto": %q, "src": %s, "dst": %s}`, proto, d.some(from...), d.some(with...)))
			continue
		}
		grants = append(grants, fmt.Sprintf(`{"src": %s, "dst": %s, %s}`, d.some(from...), d.some(to...), pick(d,
			`"ip": `+d.some("*", "22", "tcp:80-90", "udp:*", "gre:*", "icmp:*"), `"app": {"x.y/z": [1]}`)))
	}
	return fmt.Sprintf(`{
		"groups": {"group:ab": ["a@", "b@"], "group:bc": ["b@", "c@"]}, "tagOwners": {"tag:x": [], "tag:y": []},
		"hosts": {"one": "100.64.0.1", "low": "100.64.0.0/30", "net": "10.1.0.0/16", "net2": "10.1.2.0/24", "pub": "9.9.9.0/24"},
		"acls": [%s], "grants": [%s]}`, strings.Join(acls, ", "), strings.Join(grants, ", "))
}

func (d dice) node(id tailcfg.NodeID) Node {
	n := Node{ID: id, User: pick(d, "a", "b", "c", "d"), Addrs: addrs(fmt.Sprintf("100.64.0.%d", id), fmt.Sprintf("fd7a:115c:a1e0::%d", id))}
	n.Admin = n.User == "d"
	if d.IntN(3) == 0 {
		n.Tags = pick(d, []string{"tag:x"}, []string{"tag:y"}, []string{"tag:x", "tag:y"}, []string{"tag:unknown"})
	}
	if d.IntN(4) == 0 {
		n.Routes = pick(d, prefixes("10.1.0.0/16"), prefixes("10.1.2.0/24", "10.2.0.0/16"), prefixes("0.0.0.0/0", "::/0"), prefixes("0.0.0.0/0", "9.9.9.0/24"))
	}
	return n
}

func (d dice) nodes() (nodes []Node) {
	for id := range tailcfg.NodeID(6) {
		nodes = append(nodes, d.node(id+1))
	}
	return nodes
}

func (d dice) flow(nodes []Node) Flow {
	f := Flow{From: pick(d, nodes...), To: pick(d, nodes...), Proto: pick[uint8](d, 6, 17, 1, 132, 47, 89), Port: pick[uint16](d, 22, 80, 85, 150, 1000)}
	v := d.IntN(2)
	f.Src, f.Dst = f.From.Addrs[v], f.To.Addrs[v]
	if v == 1 {
		f.Proto = pick[uint8](d, 6, 17, 58, 132, 47)
		return f
	}
	if d.IntN(3) == 0 {
		f.Dst = pick(d, addrs("10.1.2.3", "10.1.3.3", "9.9.9.9", "8.8.8.8", "192.168.1.1")...)
	}
	if d.IntN(6) == 0 {
		f.Src = pick(d, addrs("10.1.2.3", "10.3.3.3")...)
	}
	return f
}

// packet makes the first one of a flow.
func packet(f Flow) filter.Packet {
	payload := make([]byte, 20)
	payload[2], payload[3] = byte(f.Port>>8), byte(f.Port)
	switch f.Proto {
	case protoTCP:
		payload[12], payload[13] = 0x50, 0x02
	case protoICMP:
		payload[0], payload[2], payload[3] = 8, 0, 0
	case protoICMPv6:
		payload[0], payload[2], payload[3] = 128, 0, 0
	}
	var b []byte
	if f.Src.Is4() {
		b = make([]byte, 12)
		b[0], b[3], b[8], b[9] = 0x45, 40, 64, f.Proto
	} else {
		b = make([]byte, 8)
		b[0], b[5], b[6], b[7] = 0x60, 20, f.Proto, 64
	}
	b = append(append(b, f.Src.AsSlice()...), f.Dst.AsSlice()...)
	return filter.Parse(append(b, payload...))
}

// consistent checks that what c makes of the policy is what its rules say of
// a flow.
func consistent(t *testing.T, text string, c *Compiled, f Flow) {
	t.Helper()
	view := c.View(f.To.ID)
	local := slices.Clone(f.To.Routes)
	for _, a := range f.To.Addrs {
		local = append(local, netip.PrefixFrom(a, a.BitLen()))
	}
	compiled, err := filter.Compile(filter.Config{Rules: view.Rules(), Local: local})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	answer := c.Policy().Reaches(f)
	if got := compiled.Check(packet(f), nil).Accepted(); got != answer.Allowed {
		t.Fatalf("the filter accepts: %v; Reaches: %v\n%+v\n%s\n%s", got, answer, f, text, show(view.Rules()))
	}
	own := slices.Contains(f.From.Addrs, f.Src) // else it may come from anywhere
	if answer.Allowed && own && f.From.ID != f.To.ID && !view.Sees(f.From.ID) {
		t.Fatalf("node %d is reached by %d and does not see it (%v)\n%s", f.To.ID, f.From.ID, answer, text)
	}
	if a, b := view.Sees(f.From.ID), c.View(f.From.ID).Sees(f.To.ID); a != b {
		t.Fatalf("node %d sees %d: %v; the other way: %v\n%s", f.To.ID, f.From.ID, a, b, text)
	}
}

func TestCompileIsConsistentWithReaches(t *testing.T) {
	for seed := range uint64(1000) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		checkSeed(t, d)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { checkSeed(t, dice{rand.New(rand.NewPCG(a, b))}) })
}

func checkSeed(t *testing.T, d dice) {
	text, nodes := d.policy(), d.nodes()
	p := parse(t, text)
	c := p.Compile(nodes)
	for range 10 {
		consistent(t, text, c, d.flow(nodes))
	}
	// Step by step comes to the same as at once.
	for range 3 {
		i := d.IntN(len(nodes))
		nodes[i] = d.node(nodes[i].ID)
		before := c
		c = before.Update(nodes[i : i+1])
		sameAsAnew(t, text, c, p.Compile(nodes), nodes)
		onlyPeersAreConcerned(t, text, before, c, nodes[i].ID)
	}
	for range 10 {
		consistent(t, text, c, d.flow(nodes))
	}
}

func sameAsAnew(t *testing.T, text string, c, anew *Compiled, nodes []Node) {
	t.Helper()
	for _, n := range nodes {
		a, b := c.View(n.ID), anew.View(n.ID)
		if show(a.Rules()) != show(b.Rules()) || !slices.Equal(slices.Collect(a.Peers()), slices.Collect(b.Peers())) {
			t.Fatalf("node %d after an update:\n%s\n%v\nanew:\n%s\n%v\n%s", n.ID,
				show(a.Rules()), slices.Collect(a.Peers()), show(b.Rules()), slices.Collect(b.Peers()), text)
		}
	}
}

// onlyPeersAreConcerned checks what Update promises.
func onlyPeersAreConcerned(t *testing.T, text string, before, after *Compiled, id tailcfg.NodeID) {
	t.Helper()
	for other := tailcfg.NodeID(1); other <= 6; other++ {
		v, w := before.View(other), after.View(other)
		if other == id || v.Sees(id) || w.Sees(id) {
			continue
		}
		if show(v.Rules()) != show(w.Rules()) || !slices.Equal(slices.Collect(v.Peers()), slices.Collect(w.Peers())) {
			t.Fatalf("node %d changed, and with it the view of %d, which does not see it\n%s", id, other, text)
		}
	}
}

// TestViewsOfManyStreams asks old and new at once, as map streams do.
func TestViewsOfManyStreams(t *testing.T) {
	old := parse(t, "{"+names+acl("group:dev", "group:dev:22")+"}").Compile(mesh())
	next := old.Update(nil, 3)
	var streams sync.WaitGroup
	for i := range 8 {
		streams.Go(func() {
			c, want := old, "[2 3 7]"
			if i%2 == 1 {
				c, want = next, "[2 7]"
			}
			for range 200 {
				v := c.View(1)
				if got := fmt.Sprint(slices.Collect(v.Peers())); got != want {
					t.Errorf("node 1 sees %s, not %s", got, want)
				}
				if got := strings.Contains(show(v.Rules()), "100.64.0.3"); got != (i%2 == 0) {
					t.Errorf("node 3 is among the sources: %v", got)
				}
			}
		})
	}
	streams.Wait()
}
