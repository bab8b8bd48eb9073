package coord

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// sorted returns all nodes in the order of their IDs.
func (s *state) sorted() []*node {
	return slices.SortedFunc(maps.Values(s.nodes), func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
}

func (s *state) snapshot() *snapshot {
	if s.terms == nil {
		s.terms = &terms{domain: "mesh.internal", derp: new(derpmap.Map)}
	}
	return &snapshot{terms: s.terms, nodes: s.sorted()}
}

// difference returns what a node is told that knows the one snapshot and is
// to know the other.
func difference(old, next *snapshot, id tailcfg.NodeID) *tailcfg.MapResponse {
	return delta(old.terms, next.terms, old.find(id), next.find(id), pairs(old.nodes, next.nodes))
}

func TestDelta(t *testing.T) {
	s := testState()
	self, peer := s.join(t, "self"), s.join(t, "peer")
	disco := key.NewDisco().Public()
	peer = s.report(peer, &tailcfg.MapRequest{DiscoKey: disco, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}})
	s.connected(peer.ID)
	told := s.snapshot()
	// Each step changes the state; want is what self is told of it.
	for _, step := range []struct {
		what   string
		change func()
		want   string
	}{
		{"nothing", func() {}, `null`},
		{"its own report is not told to it", func() {
			s.report(s.nodes[self.ID], &tailcfg.MapRequest{DiscoKey: disco, Hostinfo: &tailcfg.Hostinfo{Hostname: "self", OS: "plan9"}})
		}, `null`},
		{"its own presence neither", func() { s.connected(self.ID) }, `null`},
		{"a peer goes offline", func() {
			s.disconnected(epoch, peer.ID)
			s.advance(epoch.Add(time.Minute))
		}, `{"PeersChangedPatch":[{"NodeID":2,"Online":false,"LastSeen":"2026-01-02T03:04:05Z"}]}`},
		{"a peer comes back", func() { s.connected(peer.ID) }, `{"OnlineChange":{"2":true}}`},
		{"a peer moves", func() {
			s.report(s.nodes[peer.ID], &tailcfg.MapRequest{
				Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:2")},
				Hostinfo:  &tailcfg.Hostinfo{Hostname: "peer", NetInfo: &tailcfg.NetInfo{PreferredDERP: 3}},
			})
		}, `{"PeersChangedPatch":[{"NodeID":2,"DERPRegion":3,"Endpoints":["192.0.2.2:2"]}]}`},
		{"its key will expire", func() {
			s.change(s.nodes[peer.ID], func(n *node) { n.KeyExpiry = epoch.Add(time.Hour) })
		}, `{"PeersChangedPatch":[{"NodeID":2,"KeyExpiry":"2026-01-02T04:04:05Z"}]}`},
		{"the peer expires", func() { s.advance(epoch.Add(time.Hour)) }, `{"PeersRemoved":[2]}`},
		{"the relays change", func() {
			s.terms = &terms{domain: s.terms.domain, derp: &derpmap.Map{Regions: map[int]*derpmap.Region{}}}
		}, `{"DERPMap":{"Regions":{}}}`},
	} {
		step.change()
		next := s.snapshot()
		got, _ := json.Marshal(difference(told, next, self.ID))
		if string(got) != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.what, got, step.want)
		}
		told = next
	}
}

func TestDeltaOfWholeNodes(t *testing.T) {
	s := testState()
	self := s.join(t, "self")
	told := s.snapshot()
	next := func() *tailcfg.MapResponse {
		old := told
		told = s.snapshot()
		return difference(old, told, self.ID)
	}
	one := func(what string, nodes []*tailcfg.Node) *tailcfg.Node {
		t.Helper()
		if len(nodes) != 1 {
			t.Fatalf("%s: told of %d nodes, want 1", what, len(nodes))
		}
		return nodes[0]
	}
	peer := s.joinWith(t, "peer", AuthKeyOptions{Tags: []string{"tag:web"}})
	resp := next()
	n := one("a peer joins", resp.PeersChanged)
	if n.Name != "peer.mesh.internal." || n.Key != peer.Key || !n.MachineAuthorized || len(n.Addresses) != 2 {
		t.Errorf("a peer joins: %+v", n)
	}
	if len(resp.UserProfiles) != 1 || resp.UserProfiles[0].ID != taggedUser {
		t.Errorf("a peer joins: the profiles are %+v, want that of the peer's user", resp.UserProfiles)
	}
	peer = s.report(peer, &tailcfg.MapRequest{Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}})
	next()
	s.report(peer, &tailcfg.MapRequest{})
	if n := one("endpoints become none, which a patch cannot say", next().PeersChanged); n.Endpoints != nil {
		t.Errorf("endpoints %v", n.Endpoints)
	}
	if err := s.rename(s.nodes[self.ID], "other"); err != nil {
		t.Fatal(err)
	}
	if resp := next(); resp == nil || resp.Node == nil || resp.Node.Name != "other.mesh.internal." || len(resp.UserProfiles) != 1 {
		t.Errorf("renamed: %+v", resp)
	}
	s.expire(epoch, s.nodes[self.ID])
	resp = next()
	if resp.Node == nil || !resp.Node.Expired || !resp.Node.KeyExpiry.Equal(epoch) || len(resp.PeersRemoved) != 1 {
		t.Errorf("an expired node is told so and loses its peers: %+v", resp)
	}
	s.drop(s.nodes[self.ID])
	if resp := farewell(told.terms, told.find(self.ID), told.nodes); resp.Node == nil || !resp.Node.Expired || resp.Node.KeyExpiry.IsZero() {
		t.Errorf("a removed node is told that it has expired: %+v", resp)
	}
}

// client is what a node knows from its stream, by the rules of MapResponse.
type client struct {
	self  *tailcfg.Node
	peers map[tailcfg.NodeID]tailcfg.Node
	derp  *derpmap.Map
}

func (c *client) apply(resp *tailcfg.MapResponse) {
	if resp == nil {
		return
	}
	if resp.Node != nil {
		c.self = resp.Node
	}
	if resp.DERPMap != nil {
		c.derp = resp.DERPMap
	}
	for _, id := range resp.PeersRemoved {
		delete(c.peers, id)
	}
	for _, n := range append(resp.Peers, resp.PeersChanged...) {
		c.peers[n.ID] = *n
	}
	for id, online := range resp.OnlineChange {
		n := c.peers[id]
		n.Online = &online
		if online {
			n.LastSeen = nil
		}
		c.peers[id] = n
	}
	for _, p := range resp.PeersChangedPatch {
		n, ok := c.peers[p.NodeID]
		if ok {
			c.peers[p.NodeID] = patched(n, p)
		}
	}
}

func patched(n tailcfg.Node, p *tailcfg.PeerChange) tailcfg.Node {
	if p.DERPRegion != 0 {
		n.HomeDERP = p.DERPRegion
	}
	if p.Cap != 0 {
		n.Cap = p.Cap
	}
	if p.Endpoints != nil {
		n.Endpoints = p.Endpoints
	}
	if p.DiscoKey != nil {
		n.DiscoKey = *p.DiscoKey
	}
	if p.Online != nil {
		n.Online = p.Online
		if *p.Online {
			n.LastSeen = nil
		}
	}
	if p.LastSeen != nil {
		n.LastSeen = p.LastSeen
	}
	if p.KeyExpiry != nil {
		n.KeyExpiry = *p.KeyExpiry
	}
	return n
}

// TestDeltasAddUp changes a tailnet at random. Whatever a node is told after
// whichever of the changes, it knows what a new stream would tell it.
func TestDeltasAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := testState()
	self := s.join(t, "self")
	now := epoch
	st := newStream(self.ID, nil)
	c := &client{peers: make(map[tailcfg.NodeID]tailcfg.Node)}
	told := s.snapshot()
	c.apply(overWire(t, st.first(told)))
	clear(s.altered)
	for step := range 1000 {
		now = now.Add(time.Duration(rng.IntN(8)) * time.Second)
		what := disturb(t, rng, s, now, self.ID)
		s.advance(now)
		for id, was := range s.altered {
			st.note(id, was)
		}
		altered := s.altered
		s.altered = make(map[tailcfg.NodeID]*node)
		if told.nodes = told.with(altered, s.nodes); !slices.Equal(told.nodes, s.sorted()) {
			t.Fatalf("step %d, %s: the nodes of the snapshot do not follow", step, what)
		}
		if rng.IntN(3) == 0 { // a slow node hears of several changes at once
			continue
		}
		if rng.IntN(10) == 0 {
			s.terms = &terms{domain: s.terms.domain, derp: new(derpmap.Map)}
		}
		next := s.snapshot()
		resp, there := st.next(next, st.take())
		if !there {
			t.Fatalf("step %d, %s: it is told that it is gone", step, what)
		}
		c.apply(overWire(t, resp))
		want := &client{peers: make(map[tailcfg.NodeID]tailcfg.Node)}
		want.apply(overWire(t, fullMap(next, next.find(self.ID))))
		if got, want := c.String(), want.String(); got != want {
			t.Fatalf("step %d, %s:\n got %s\nwant %s", step, what, got, want)
		}
	}
}

// overWire returns what arrives of resp.
func overWire(t *testing.T, resp *tailcfg.MapResponse) *tailcfg.MapResponse {
	data, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	var got *tailcfg.MapResponse
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// String shows all that matters: of itself a node is told only what it did not
// report.
func (c *client) String() string {
	self := *c.self
	self.Hostinfo, self.Endpoints, self.DiscoKey, self.HomeDERP, self.Cap, self.Online, self.LastSeen = nil, nil, key.DiscoPublic{}, 0, 0, nil, nil
	data, _ := json.Marshal([]any{self, c.peers, c.derp})
	return string(data)
}

// disturb makes one random change and says which.
func disturb(t *testing.T, rng *rand.Rand, s *state, now time.Time, self tailcfg.NodeID) string {
	nodes := s.sorted()
	n := nodes[rng.IntN(len(nodes))]
	names := []string{"web", "db", "Web Server", ""}
	name := names[rng.IntN(len(names))]
	switch what := rng.IntN(9); {
	case what == 0 && len(nodes) < 20:
		s.joinWith(t, name, AuthKeyOptions{Ephemeral: rng.IntN(2) == 0})
		return "join"
	case what == 1 && n.ID != self:
		s.drop(n)
		return "remove"
	case what == 2:
		s.connected(n.ID)
		return "connect"
	case what == 3 && n.ID != self:
		s.disconnected(now, n.ID)
		return "disconnect"
	case what == 4:
		s.expire(now.Add(-time.Second), n)
		return "expire"
	case what == 5:
		s.change(n, func(n *node) { n.KeyExpiry, n.Expired = now.Add(time.Minute), false })
		return "renew"
	case what == 6:
		s.rename(n, fmt.Sprint("n", rng.IntN(30)))
		return "rename"
	}
	req := &tailcfg.MapRequest{Version: 130 + tailcfg.CapabilityVersion(rng.IntN(2)), Hostinfo: &tailcfg.Hostinfo{Hostname: name, NetInfo: &tailcfg.NetInfo{PreferredDERP: rng.IntN(3)}}}
	for range rng.IntN(3) {
		req.Endpoints = append(req.Endpoints, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1+rng.IntN(3))))
	}
	if rng.IntN(4) == 0 {
		req.DiscoKey = key.NewDisco().Public()
	}
	s.report(n, req)
	return "report"
}

func TestPairs(t *testing.T) {
	list := func(ids ...tailcfg.NodeID) (nodes []*node) {
		for _, id := range ids {
			nodes = append(nodes, &node{ID: id})
		}
		return nodes
	}
	var got []string
	for before, after := range pairs(list(1, 3, 4), list(2, 3, 5, 6)) {
		s := "-"
		if before != nil {
			s = fmt.Sprint(before.ID)
		}
		if after != nil {
			s += fmt.Sprint(">", after.ID)
		}
		got = append(got, s)
	}
	if want := []string{"1", "->2", "3>3", "4", "->5", "->6"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
