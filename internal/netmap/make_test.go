package netmap

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func nodeKey(i int) key.NodePublic {
	return key.NodePublicFromRaw32([32]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})
}

func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}) }

// node returns node i, with an address, a key and a name of its own.
func node(i int, edits ...func(*tailcfg.Node)) *tailcfg.Node {
	n := &tailcfg.Node{
		ID:        tailcfg.NodeID(i),
		StableID:  fmt.Sprint("n", i),
		Name:      fmt.Sprintf("host-%d.tail.example.com.", i),
		Key:       nodeKey(i),
		Addresses: []netip.Prefix{netip.PrefixFrom(addr(i), 32)},
	}
	for _, edit := range edits {
		edit(n)
	}
	return n
}

func nodes(ids ...int) (list []*tailcfg.Node) {
	for _, id := range ids {
		list = append(list, node(id))
	}
	return list
}

// self is our own node in most tests.
const self = 1000

// start returns a map of ourselves and peers.
func start(t testing.TB, peers ...*tailcfg.Node) *Map {
	t.Helper()
	return apply(t, nil, &tailcfg.MapResponse{Node: node(self), Peers: peers})
}

// apply returns the map after responses, and checks it.
func apply(t testing.TB, m *Map, responses ...*tailcfg.MapResponse) *Map {
	t.Helper()
	for _, resp := range responses {
		next, err := m.Apply(resp, now)
		if err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, next)
		m = next
	}
	return m
}

// decode returns a response as it comes from a coordinator.
func decode(t testing.TB, text string) *tailcfg.MapResponse {
	t.Helper()
	resp := new(tailcfg.MapResponse)
	if err := json.Unmarshal([]byte(text), resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

func ids(nodes []*tailcfg.Node) (list []int) {
	for _, n := range nodes {
		list = append(list, int(n.ID))
	}
	return list
}

// snapshot returns all that a map says, as text.
func snapshot(t testing.TB, m *Map) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(m); err != nil { // the exported fields
		t.Fatal(err)
	}
	if m != nil {
		fmt.Fprintln(&b, m.FilterKnown, m.clockDelta, m.users, m.filters, m.index.byKey, m.index.byAddr)
		if err := enc.Encode(m.nodes); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func checkInvariants(t testing.TB, m *Map) {
	t.Helper()
	all := append(slices.Clone(m.Peers), m.Self)
	if !slices.IsSortedFunc(m.Peers, func(a, b *tailcfg.Node) int { return cmp.Compare(a.ID, b.ID) }) {
		t.Errorf("the peers are out of order: %v", ids(m.Peers))
	}
	seen := make(map[tailcfg.NodeID]bool)
	owner := make(map[netip.Addr]*tailcfg.Node)
	for _, n := range all {
		if seen[n.ID] {
			t.Errorf("two nodes have the ID %d", n.ID)
		}
		seen[n.ID] = true
		if got, ok := m.ByID(n.ID); !ok || got != n {
			t.Errorf("node %d is not found by its ID", n.ID)
		}
		if got, ok := m.ByKey(n.Key); !n.Key.IsZero() && (!ok || got != n) {
			t.Errorf("node %d is not found by its key", n.ID)
		}
		for _, p := range n.Addresses {
			if !p.IsSingleIP() {
				t.Errorf("node %d has the address %v", n.ID, p)
			}
			if got, ok := m.ByAddr(p.Addr()); !ok || got != n {
				t.Errorf("node %d is not found by its address %v", n.ID, p)
			}
			owner[p.Addr()] = n
		}
	}
	for _, n := range m.Peers {
		if n.Key.IsZero() {
			t.Errorf("peer %d has no key", n.ID)
		}
		for _, p := range n.AllowedIPs {
			if o := owner[p.Addr()]; p.IsSingleIP() && o != nil && o != n {
				t.Errorf("peer %d is allowed %v, which is node %d's", n.ID, p, o.ID)
			}
		}
	}
	if len(m.index.byKey) > len(all) {
		t.Errorf("the index has %d keys for %d nodes", len(m.index.byKey), len(all))
	}
	if m.Names == nil {
		t.Error("there is no name table")
	}
}
