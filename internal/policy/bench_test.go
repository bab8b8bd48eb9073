package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	benchNodes = 10_000
	benchPeers = 100
)

// benchMesh is 10,000 nodes, each of a user of its own, who see those 100 that
// are in their group; and a tag whose nodes see nobody.
func benchMesh(b *testing.B) (*Policy, []Node) {
	var groups, rules []string
	nodes := make([]Node, benchNodes)
	for g := range benchNodes / benchPeers {
		var users []string
		for i := range benchPeers {
			n := g*benchPeers + i
			nodes[n] = benchNode(n)
			users = append(users, fmt.Sprintf("%q", nodes[n].User))
		}
		groups = append(groups, fmt.Sprintf(`"group:g%d": [%s]`, g, strings.Join(users, ", ")))
		rules = append(rules, fmt.Sprintf(`{"action": "accept", "src": ["group:g%d"], "dst": ["group:g%d:22,443"]}`, g, g))
	}
	return parse(b, fmt.Sprintf(`{"tagOwners": {"tag:x": []}, "groups": {%s}, "acls": [%s]}`, strings.Join(groups, ", "), strings.Join(rules, ", "))), nodes
}

func benchNode(n int) Node {
	a4, a6 := netip.MustParseAddr("100.64.0.0").As4(), netip.MustParseAddr("fd7a:115c:a1e0::").As16()
	a4[2], a4[3] = byte(n*7>>8), byte(n*7) // not side by side: ranges are of no help
	a6[14], a6[15] = a4[2], a4[3]
	return Node{ID: tailcfg.NodeID(n + 1), User: fmt.Sprintf("u%d@example.com", n), Addrs: []netip.Addr{netip.AddrFrom4(a4), netip.AddrFrom16(a6)}}
}

// BenchmarkCompile is all nodes at once, and the view of each.
func BenchmarkCompile(b *testing.B) {
	p, nodes := benchMesh(b)
	for b.Loop() {
		c := p.Compile(nodes)
		for _, n := range nodes {
			c.View(n.ID).Rules()
		}
	}
}

// BenchmarkUpdate is one node that changes among 10,000.
func BenchmarkUpdate(b *testing.B) {
	p, nodes := benchMesh(b)
	c := p.Compile(nodes)
	for i := 0; b.Loop(); i++ {
		c = c.Update([]Node{flip(nodes[4242], i)})
	}
}

// BenchmarkView is the view of one node that sees the one which changed, and
// is the first to ask.
func BenchmarkView(b *testing.B) {
	p, nodes := benchMesh(b)
	c := p.Compile(nodes)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		c = c.Update([]Node{flip(nodes[4242], i)})
		b.StartTimer()
		c.View(nodes[4243].ID).Rules()
	}
}

// BenchmarkViews is the views of all 100 that see the one which changed.
func BenchmarkViews(b *testing.B) {
	p, nodes := benchMesh(b)
	c := p.Compile(nodes)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		c = c.Update([]Node{flip(nodes[4242], i)})
		b.StartTimer()
		for _, n := range nodes[4200:4300] {
			c.View(n.ID).Rules()
		}
	}
}

// BenchmarkViewUnchanged is a view that a change elsewhere does not concern.
func BenchmarkViewUnchanged(b *testing.B) {
	p, nodes := benchMesh(b)
	c := p.Compile(nodes)
	c.View(1)
	c = c.Update([]Node{flip(nodes[4242], 0)})
	for b.Loop() {
		c.View(1).Rules()
	}
}

// flip gives a node a tag every other time.
func flip(n Node, i int) Node {
	if i%2 == 0 {
		n.Tags = []string{"tag:x"}
	}
	return n
}
