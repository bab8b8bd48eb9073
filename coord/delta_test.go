package coord

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
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

// whole returns a snapshot of the present state, made from nothing.
func (s *state) whole() *snapshot {
	if s.terms.domain == "" {
		s.terms = &terms{domain: "mesh.internal", derp: new(derpmap.Map)}
	}
	s.settleTerms()
	snap := &snapshot{terms: s.terms, nodes: s.sorted()}
	snap.access = s.compile(&snapshot{})
	return snap
}

// difference returns what a node is told that knows the one snapshot and is
// to know the other.
func difference(old, next *snapshot, id tailcfg.NodeID) *tailcfg.MapResponse {
	st := newStream(id, nil)
	st.first(old)
	before := make(map[tailcfg.NodeID]*node)
	for _, n := range slices.Concat(old.nodes, next.nodes) {
		if was := old.find(n.ID); was != next.find(n.ID) {
			before[n.ID] = was
		}
	}
	resp, _ := st.next(next, before)
	return resp
}

func TestDelta(t *testing.T) {
	s := testState()
	self, peer := s.join(t, "self"), s.join(t, "peer")
	disco := key.NewDisco().Public()
	peer = s.report(peer, &tailcfg.MapRequest{DiscoKey: disco, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}})
	s.connected(peer.ID)
	told := s.whole()
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
			t := *s.terms
			t.derp, s.terms = &derpmap.Map{Regions: map[int]*derpmap.Region{}}, &t
		}, `{"DERPMap":{"Regions":{}}}`},
	} {
		step.change()
		next := s.whole()
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
	told := s.whole()
	next := func() *tailcfg.MapResponse {
		old := told
		told = s.whole()
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
	if resp := difference(told, s.whole(), self.ID); resp.Node == nil || !resp.Node.Expired || resp.Node.KeyExpiry.IsZero() {
		t.Errorf("a removed node is told that it has expired: %+v", resp)
	}
}

// client is what a node knows from its stream, by the rules of MapResponse.
type client struct {
	self  *tailcfg.Node
	peers map[tailcfg.NodeID]tailcfg.Node
	derp  *derpmap.Map
	rules []tailcfg.FilterRule
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
	if resp.PacketFilters != nil {
		c.rules = resp.PacketFilters["base"]
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
	for seed := range uint64(5) {
		newDeltas(t, seed).run(400)
	}
}

// deltas is a tailnet and a node that streams.
type deltas struct {
	*testing.T
	rng     *rand.Rand
	state   *state
	streams streams
	current atomic.Pointer[snapshot]
	stream  *stream
	client  *client
}

func newDeltas(t *testing.T, seed uint64) *deltas {
	d := &deltas{T: t, rng: rand.New(rand.NewPCG(seed, 2)), state: testState(), client: &client{peers: make(map[tailcfg.NodeID]tailcfg.Node)}}
	self := d.state.join(t, "self")
	d.stream = newStream(self.ID, nil)
	d.streams.add(d.stream)
	d.current.Store(d.state.whole())
	d.client.apply(overWire(t, d.stream.first(d.current.Load())))
	clear(d.state.altered)
	return d
}

func (d *deltas) run(steps int) {
	now := epoch
	for step := range steps {
		now = now.Add(time.Duration(d.rng.IntN(8)) * time.Second)
		what := disturb(d.T, d.rng, d.state, now, d.stream.id)
		d.state.advance(now)
		d.state.electRouters(now)
		old := d.current.Load()
		if next := d.state.snapshot(old); next != nil {
			d.streams.tell(old, next, d.state.altered, &d.current)
			clear(d.state.altered)
		}
		if !slices.Equal(d.current.Load().nodes, d.state.sorted()) {
			d.Fatalf("step %d, %s: the nodes of the snapshot do not follow", step, what)
		}
		if d.rng.IntN(3) == 0 { // a slow node hears of several changes at once
			continue
		}
		select {
		case <-d.stream.changed:
			resp, there := d.stream.next(d.streams.look(d.stream, &d.current))
			if !there {
				d.Fatalf("step %d, %s: it is told that it is gone", step, what)
			}
			d.client.apply(overWire(d.T, resp))
		default: // it does not concern the node
		}
		d.check(step, what)
	}
}

// check compares what the node knows with what it would be told now.
func (d *deltas) check(step int, what string) {
	want := &client{peers: make(map[tailcfg.NodeID]tailcfg.Node)}
	fresh := d.state.whole()
	v, _ := fresh.sightOf(d.stream.id)
	want.apply(overWire(d.T, fullMap(fresh, v)))
	if got, want := d.client.String(), want.String(); got != want {
		d.Fatalf("step %d, %s:\n got %s\nwant %s", step, what, got, want)
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
	data, _ := json.Marshal([]any{self, c.peers, c.derp, c.rules})
	return string(data)
}

// disturb makes one random change and says which.
func disturb(t *testing.T, rng *rand.Rand, s *state, now time.Time, self tailcfg.NodeID) string {
	nodes := s.sorted()
	n := nodes[rng.IntN(len(nodes))]
	names := []string{"web", "db", "Web Server", ""}
	name := names[rng.IntN(len(names))]
	policies := []string{
		``,
		`{"tagOwners": {"tag:web": [], "tag:db": []}, "acls": [{"action": "accept", "src": ["tag:web"], "dst": ["tag:db:*"]}, {"action": "accept", "src": ["alice@"], "dst": ["*:22"]}]}`,
		`{"tagOwners": {"tag:db": []}, "grants": [{"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"]}, {"src": ["tag:db"], "dst": ["autogroup:admin"], "ip": ["tcp:1"]}]}`,
		`{"acls": []}`,
	}
	logins := []string{"alice", "user"}
	switch what := rng.IntN(15); {
	case what == 14:
		s.change(n, func(n *node) { n.approve([]netip.Prefix{lan, lan6, all4}[rng.IntN(3)]) })
		return "approve a route"
	case what == 9 && rng.IntN(5) == 0:
		if text := policies[rng.IntN(len(policies))]; text != "" {
			r := &policyRecord{Text: text}
			if err := r.check(); err != nil {
				t.Fatal(err)
			}
			s.put(r)
		} else {
			s.decide(kindPolicy, nil)
		}
		return "policy"
	case what == 10:
		tags := [][]string{nil, {"tag:web"}, {"tag:db"}, {"tag:db", "tag:web"}}
		s.change(n, func(n *node) { n.tag(tags[rng.IntN(len(tags))]) })
		return "tags"
	case what == 11:
		s.createUser(now, UserOptions{Login: "alice"}) // the first time
		s.changeUser(logins[rng.IntN(2)], UserOptions{Login: "alice", Admin: rng.IntN(2) == 0})
		return "user"
	case what == 12:
		if u, err := s.userOf(logins[rng.IntN(2)]); err == nil {
			s.change(n, func(n *node) { n.User = tailcfg.UserID(u.ID) })
		}
		return "owner"
	case what == 13 && rng.IntN(5) == 0:
		t := *s.terms
		t.derp, s.terms = new(derpmap.Map), &t
		return "relays"
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
	req.Hostinfo.RoutableIPs = [][]netip.Prefix{nil, {lan}, {lan, lan6}, {all4, all6}}[rng.IntN(4)]
	if rng.IntN(4) == 0 {
		req.DiscoKey = key.NewDisco().Public()
	}
	s.report(n, req)
	return "report"
}
