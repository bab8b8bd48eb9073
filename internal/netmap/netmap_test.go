package netmap

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

func TestFirstResponse(t *testing.T) {
	var none *Map
	if _, err := none.Apply(&tailcfg.MapResponse{Peers: nodes(1)}, now); err == nil {
		t.Error("a first response without our own node is taken")
	}
	if m, err := none.Apply(&tailcfg.MapResponse{KeepAlive: true, Node: node(self)}, now); m != nil || err != nil {
		t.Errorf("a keepalive at the start gives %v, %v, want nothing", m, err)
	}
	m := start(t)
	if m.Self.ID != self || len(m.Peers) != 0 || m.FilterKnown || m.Locked() || m.DERPMap != nil {
		t.Errorf("alone in the mesh the map is %+v", m)
	}
	if got, err := m.Apply(&tailcfg.MapResponse{Peers: nodes(1)}, now); err != nil || got.Self != m.Self {
		t.Errorf("a later response needs no node of our own, but gives %v", err)
	}
}

func TestErrorLeavesTheMap(t *testing.T) {
	m := start(t, nodes(1)...)
	got, err := m.Apply(&tailcfg.MapResponse{Peers: make([]*tailcfg.Node, 1), PacketFilter: []tailcfg.FilterRule{
		{SrcIPs: make([]string, maxRuleEntries+1)},
	}}, now)
	if err == nil || got != m {
		t.Errorf("after an error the map is another, %v", err)
	}
}

// TestPeers applies one response after another to a map of the peers 2, 4 and 6.
func TestPeers(t *testing.T) {
	for _, test := range []struct {
		name string
		resp string
		want []int
	}{
		{"nothing changes nothing", `{}`, []int{2, 4, 6}},
		{"an empty list of peers changes nothing", `{"Peers":[]}`, []int{2, 4, 6}},
		{"a list of peers replaces all, and is put in order", `{"Peers":[N9,N3]}`, []int{3, 9}},
		{"beside a list of peers the deltas are ignored", `{"Peers":[N3],"PeersRemoved":[3],"PeersChanged":[N5]}`, []int{3}},
		{"peers are removed", `{"PeersRemoved":[4,5]}`, []int{2, 6}},
		{"all peers are removed", `{"PeersRemoved":[6,4,2,2]}`, nil},
		{"peers are added", `{"PeersChanged":[N7,N1,N5]}`, []int{1, 2, 4, 5, 6, 7}},
		{"what is removed and changed is there: removal comes first", `{"PeersRemoved":[2,4],"PeersChanged":[N4]}`, []int{4, 6}},
		{"null is no peer", `{"PeersChanged":[null,N5,null],"PeersChangedPatch":[null]}`, []int{2, 4, 5, 6}},
		{"null is no peer in the full list either", `{"Peers":[null,N5]}`, []int{5}},
		{"IDs are positive", `{"PeersChanged":[{"ID":0},{"ID":-4}]}`, []int{2, 4, 6}},
		{"a peer without a key is not there", `{"PeersChanged":[{"ID":5}]}`, []int{2, 4, 6}},
		{"we are not our own peer", `{"PeersChanged":[N1000]}`, []int{2, 4, 6}},
		{"changes to unknown peers are ignored", `{"PeersChangedPatch":[{"NodeID":5,"DERPRegion":1}],"OnlineChange":{"5":true},"PeerSeenChange":{"5":true}}`, []int{2, 4, 6}},
		{"a keepalive changes nothing", `{"KeepAlive":true,"Peers":[N3],"PeersRemoved":[2]}`, []int{2, 4, 6}},
	} {
		m := start(t, nodes(6, 2, 4)...)
		m = apply(t, m, decode(t, withNodes(t, test.resp)))
		if got := ids(m.Peers); !slices.Equal(got, test.want) {
			t.Errorf("%s: the peers are %v, want %v", test.name, got, test.want)
		}
	}
}

// withNodes replaces N5 in a JSON text by node 5, and so on.
func withNodes(t *testing.T, text string) string {
	for _, i := range []int{self, 9, 7, 5, 4, 3, 1} {
		b, err := json.Marshal(node(i))
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, fmt.Sprint("N", i), string(b))
	}
	return text
}

func TestTheLastOfOneIDCounts(t *testing.T) {
	named := func(name string) func(*tailcfg.Node) { return func(n *tailcfg.Node) { n.Name = name } }
	m := start(t, node(2, named("a.")), node(2, named("b.")), node(1), node(2, named("c.")))
	if n, _ := m.ByID(2); len(m.Peers) != 2 || n.Name != "c." {
		t.Errorf("of three nodes 2 the map has %v, named %q", ids(m.Peers), n.Name)
	}
}

func TestPatch(t *testing.T) {
	yes, no := true, false
	seen, expiry := now.Add(-time.Hour), now.Add(time.Hour)
	newKey, newDisco := nodeKey(77), key.DiscoPublicFromRaw32([32]byte{9})
	ep := netip.MustParseAddrPort("192.0.2.1:41641")
	caps := map[string][]json.RawMessage{"cap": nil}
	old := func(n *tailcfg.Node) {
		n.Online, n.LastSeen, n.HomeDERP, n.Endpoints = &no, &seen, 1, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1")}
		n.CapMap = map[string][]json.RawMessage{"old": nil}
	}
	for _, test := range []struct {
		name string
		resp *tailcfg.MapResponse
		want func(n *tailcfg.Node)
	}{
		{"nothing", patches(tailcfg.PeerChange{}), func(*tailcfg.Node) {}},
		{"home region", patches(tailcfg.PeerChange{DERPRegion: 7}), func(n *tailcfg.Node) { n.HomeDERP = 7 }},
		{"impossible home region", patches(tailcfg.PeerChange{DERPRegion: 65536}), func(*tailcfg.Node) {}},
		{"capability version", patches(tailcfg.PeerChange{Cap: 120}), func(n *tailcfg.Node) { n.Cap = 120 }},
		{"capabilities are replaced", patches(tailcfg.PeerChange{CapMap: caps}), func(n *tailcfg.Node) { n.CapMap = caps }},
		{"endpoints are replaced", patches(tailcfg.PeerChange{Endpoints: []netip.AddrPort{ep, {}}}), func(n *tailcfg.Node) { n.Endpoints = []netip.AddrPort{ep} }},
		{"no endpoints are none", patches(tailcfg.PeerChange{Endpoints: []netip.AddrPort{}}), func(n *tailcfg.Node) { n.Endpoints = []netip.AddrPort{} }},
		{"key", patches(tailcfg.PeerChange{Key: &newKey}), func(n *tailcfg.Node) { n.Key = newKey }},
		{"disco key", patches(tailcfg.PeerChange{DiscoKey: &newDisco}), func(n *tailcfg.Node) { n.DiscoKey = newDisco }},
		{"online", patches(tailcfg.PeerChange{Online: &yes}), func(n *tailcfg.Node) { n.Online = &yes }},
		{"last seen", patches(tailcfg.PeerChange{LastSeen: &expiry}), func(n *tailcfg.Node) { n.LastSeen = &expiry }},
		{"expiry", patches(tailcfg.PeerChange{KeyExpiry: &expiry}), func(n *tailcfg.Node) { n.KeyExpiry = expiry }},
		{"one patch after the other", patches(tailcfg.PeerChange{DERPRegion: 7, Cap: 1}, tailcfg.PeerChange{DERPRegion: 8}), func(n *tailcfg.Node) { n.HomeDERP, n.Cap = 8, 1 }},
		{"seen now", &tailcfg.MapResponse{PeerSeenChange: map[tailcfg.NodeID]bool{2: true}}, func(n *tailcfg.Node) { n.LastSeen = &now }},
		{"not to be seen", &tailcfg.MapResponse{PeerSeenChange: map[tailcfg.NodeID]bool{2: false}}, func(n *tailcfg.Node) { n.LastSeen = nil }},
		{"online by its own field", &tailcfg.MapResponse{OnlineChange: map[tailcfg.NodeID]bool{2: true}}, func(n *tailcfg.Node) { n.Online = &yes }},
		{"patches come last", &tailcfg.MapResponse{
			OnlineChange: map[tailcfg.NodeID]bool{2: false}, PeersChangedPatch: []*tailcfg.PeerChange{{NodeID: 2, Online: &yes}},
		}, func(n *tailcfg.Node) { n.Online = &yes }},
		{"patches are for what was changed", &tailcfg.MapResponse{
			PeersChanged: []*tailcfg.Node{node(2)}, PeersChangedPatch: []*tailcfg.PeerChange{{NodeID: 2, DERPRegion: 5}},
		}, func(n *tailcfg.Node) {
			*n = *normalised(*node(2))
			n.HomeDERP = 5
		}},
	} {
		before := start(t, node(1), node(2, old), node(3))
		was := snapshot(t, before)
		m := apply(t, before, test.resp)
		want := *normalised(*node(2, old))
		test.want(&want)
		got, _ := m.ByID(2)
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: the peer is\n%+v, want\n%+v", test.name, *got, want)
		}
		if snapshot(t, before) != was {
			t.Errorf("%s: the earlier map has changed", test.name)
		}
		if m.Peers[0] != before.Peers[0] || m.Peers[2] != before.Peers[2] {
			t.Errorf("%s: other peers were copied", test.name)
		}
	}
}

// patches returns a response with patches for node 2.
func patches(changes ...tailcfg.PeerChange) *tailcfg.MapResponse {
	resp := new(tailcfg.MapResponse)
	for _, change := range changes {
		change.NodeID = 2
		resp.PeersChangedPatch = append(resp.PeersChangedPatch, &change)
	}
	return resp
}

func TestAPatchedKeyIsFound(t *testing.T) {
	newKey := nodeKey(77)
	m := apply(t, start(t, nodes(1, 2)...), patches(tailcfg.PeerChange{Key: &newKey}))
	if n, ok := m.ByKey(newKey); !ok || n.ID != 2 {
		t.Errorf("the new key of node 2 is node %v's, %v", n, ok)
	}
	if n, ok := m.ByKey(nodeKey(2)); ok {
		t.Errorf("the old key of node 2 is still node %d's", n.ID)
	}
	if !m.index.clean {
		t.Error("a new key counts as a conflict")
	}
}

func TestClaims(t *testing.T) {
	withKey := func(i int) func(*tailcfg.Node) { return func(n *tailcfg.Node) { n.Key = nodeKey(i) } }
	withAddrs := func(list ...int) func(*tailcfg.Node) {
		return func(n *tailcfg.Node) {
			n.Addresses = nil
			for _, i := range list {
				n.Addresses = append(n.Addresses, netip.PrefixFrom(addr(i), 32))
			}
		}
	}
	allowed := func(list ...string) func(*tailcfg.Node) {
		return func(n *tailcfg.Node) {
			for _, s := range list {
				n.AllowedIPs = append(n.AllowedIPs, netip.MustParsePrefix(s))
			}
		}
	}
	for _, test := range []struct {
		name  string
		peers []*tailcfg.Node
		want  string // peers and what they are allowed
	}{
		{"peers that claim nothing of each other", nodes(1, 2), "1:100.64.0.1/32 2:100.64.0.2/32"},
		{"of two peers with one key the first by ID has it", []*tailcfg.Node{node(3, withKey(2)), node(2)}, "2:100.64.0.2/32"},
		{"nobody has our key", []*tailcfg.Node{node(1, withKey(self)), node(2)}, "2:100.64.0.2/32"},
		{"of two peers with one address the first by ID has it", []*tailcfg.Node{node(3, withAddrs(2, 3)), node(2)}, "2:100.64.0.2/32 3:100.64.0.3/32"},
		{"a peer may lose all addresses", []*tailcfg.Node{node(3, withAddrs(2)), node(2)}, "2:100.64.0.2/32 3:"},
		{"nobody has our address", []*tailcfg.Node{node(1, withAddrs(self, 1))}, "1:100.64.0.1/32"},
		{"a peer without the key takes no address", []*tailcfg.Node{node(2), node(3, withKey(2), withAddrs(4)), node(4)}, "2:100.64.0.2/32 4:100.64.0.4/32"},
		{"a route cannot take an address, even by a lower ID", []*tailcfg.Node{node(1, allowed("100.64.0.1/32", "100.64.0.2/32")), node(2)}, "1:100.64.0.1/32 2:100.64.0.2/32"},
		{"a route to a network may contain addresses", []*tailcfg.Node{node(1, allowed("100.64.0.0/10")), node(2)}, "1:100.64.0.0/10 2:100.64.0.2/32"},
		{"an address twice at one peer is no conflict", []*tailcfg.Node{node(1, withAddrs(1, 1))}, "1:100.64.0.1/32,100.64.0.1/32"},
	} {
		m := start(t, test.peers...)
		var got []string
		for _, n := range m.Peers {
			var ips []string
			for _, p := range n.AllowedIPs {
				ips = append(ips, p.String())
			}
			got = append(got, fmt.Sprintf("%d:%s", n.ID, strings.Join(ips, ",")))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %v, want %s", test.name, got, test.want)
		}
	}
}

func TestAClaimEndsWithItsClaimant(t *testing.T) {
	thief := node(1, func(n *tailcfg.Node) {
		n.Key = nodeKey(2)
		n.Addresses = append(n.Addresses, netip.PrefixFrom(addr(3), 32))
	})
	yes := true
	m := start(t, thief, node(2), node(3))
	if got := ids(m.Peers); !slices.Equal(got, []int{1, 3}) {
		t.Fatalf("beside a thief the peers are %v", got)
	}
	m = apply(t, m, patches(tailcfg.PeerChange{Online: &yes}), &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{1}})
	if got := ids(m.Peers); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("after the thief the peers are %v", got)
	}
	if n, ok := m.ByAddr(addr(3)); !ok || n.ID != 3 || len(n.AllowedIPs) != 1 {
		t.Errorf("after the thief its address is node %v's, %v", n, ok)
	}
	if n, _ := m.ByID(2); n.Online == nil || !*n.Online {
		t.Error("a patch to a peer that was hidden is lost")
	}
}

func TestOurOwnChangesMatter(t *testing.T) {
	m := start(t, nodes(1, 2)...)
	m = apply(t, m, &tailcfg.MapResponse{Node: node(self, func(n *tailcfg.Node) {
		n.Key = nodeKey(1)
		n.Addresses = []netip.Prefix{netip.PrefixFrom(addr(2), 32)}
		n.Name = "me.other.example.com."
	})})
	if got := ids(m.Peers); !slices.Equal(got, []int{2}) || len(m.Peers[0].Addresses) != 0 {
		t.Errorf("after we took key 1 and address 2 the peers are %v", got)
	}
	if _, found := m.Names.Lookup("me"); !found || m.Names.Suffix() != "other.example.com" {
		t.Errorf("our new name is not known; the suffix is %q", m.Names.Suffix())
	}
}

func TestLookups(t *testing.T) {
	m := start(t, node(1, func(n *tailcfg.Node) {
		n.AllowedIPs = []netip.Prefix{n.Addresses[0], netip.MustParsePrefix("10.0.0.0/8")}
	}), node(2))
	for _, test := range []struct {
		name string
		ask  func() (*tailcfg.Node, bool)
		want tailcfg.NodeID // 0: none
	}{
		{"a peer by address", func() (*tailcfg.Node, bool) { return m.ByAddr(addr(1)) }, 1},
		{"a peer by address in mapped form", func() (*tailcfg.Node, bool) { return m.ByAddr(netip.AddrFrom16(addr(1).As16())) }, 1},
		{"ourselves by address", func() (*tailcfg.Node, bool) { return m.ByAddr(addr(self)) }, self},
		{"a route is nobody's address", func() (*tailcfg.Node, bool) { return m.ByAddr(netip.MustParseAddr("10.0.0.1")) }, 0},
		{"the zero address", func() (*tailcfg.Node, bool) { return m.ByAddr(netip.Addr{}) }, 0},
		{"a peer by key", func() (*tailcfg.Node, bool) { return m.ByKey(nodeKey(2)) }, 2},
		{"ourselves by key", func() (*tailcfg.Node, bool) { return m.ByKey(nodeKey(self)) }, self},
		{"the zero key", func() (*tailcfg.Node, bool) { return m.ByKey(key.NodePublic{}) }, 0},
		{"a peer by ID", func() (*tailcfg.Node, bool) { return m.ByID(2) }, 2},
		{"ourselves by ID", func() (*tailcfg.Node, bool) { return m.ByID(self) }, self},
		{"an unknown ID", func() (*tailcfg.Node, bool) { return m.ByID(3) }, 0},
		{"in no map, by ID", func() (*tailcfg.Node, bool) { return (*Map)(nil).ByID(1) }, 0},
		{"in no map, by key", func() (*tailcfg.Node, bool) { return (*Map)(nil).ByKey(nodeKey(1)) }, 0},
		{"in no map, by address", func() (*tailcfg.Node, bool) { return (*Map)(nil).ByAddr(addr(1)) }, 0},
	} {
		n, ok := test.ask()
		if ok != (test.want != 0) || ok && n.ID != test.want {
			t.Errorf("%s: got %v, %v", test.name, n, ok)
		}
	}
}

func TestNames(t *testing.T) {
	named := func(name string) func(*tailcfg.Node) { return func(n *tailcfg.Node) { n.Name = name } }
	m := apply(t, nil, decode(t, `{"DNSConfig":{"ExtraRecords":[
		{"Name":"db.corp.test","Value":"100.64.9.1"},
		{"Name":"db.corp.test","Type":"AAAA","Value":"fd7a::9"},
		{"Name":"text.corp.test","Type":"TXT","Value":"100.64.9.1"},
		{"Name":"bad.corp.test","Type":"A","Value":"bad"},
		{"Name":"host-1","Type":"A","Value":"100.64.9.9"}
	]},"Node":`+string(must(json.Marshal(node(self))))+`}`), &tailcfg.MapResponse{Peers: []*tailcfg.Node{
		node(1), node(2, named("host-1.tail.example.com.")), node(3, named("bad name.")), node(4, named("shared.other.example.com.")), node(5, named("")),
	}})
	for _, test := range []struct{ name, lookup, want string }{
		{"ourselves", "host-1000", "[100.64.3.232]"},
		{"a peer; of two with one name the first by ID", "HOST-1", "[100.64.0.1]"},
		{"a peer by its full name", "host-1.tail.example.com.", "[100.64.0.1]"},
		{"a shared peer", "shared.other.example.com", "[100.64.0.4]"},
		{"an extra record", "db.corp.test", "[100.64.9.1 fd7a::9]"},
		{"a record that is no address", "text.corp.test", "[]"},
		{"a record of a bad address", "bad.corp.test", "[]"},
	} {
		if got, _ := m.Names.Lookup(test.lookup); fmt.Sprint(got) != test.want {
			t.Errorf("%s: %q is %v, want %s", test.name, test.lookup, got, test.want)
		}
	}
	m = apply(t, m, &tailcfg.MapResponse{DNSConfig: new(tailcfg.DNSConfig), PeersRemoved: []tailcfg.NodeID{1}})
	if _, found := m.Names.Lookup("db.corp.test"); found {
		t.Error("a withdrawn record is still known")
	}
	if got, _ := m.Names.Lookup("host-1"); fmt.Sprint(got) != "[100.64.0.2]" {
		t.Errorf("when the first of two has gone the name is %v", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestDERPMap(t *testing.T) {
	m := start(t)
	for _, step := range []struct {
		name, resp string
		want       []int
		omit       bool
	}{
		{"nothing", `{}`, nil, false},
		{"two regions and a null", `{"DERPMap":{"Regions":{"1":{"RegionID":9,"Nodes":[null,{"Name":"1a"}]},"2":{"Nodes":[{}]},"3":null},"omitDefaultRegions":true}}`, []int{1, 2}, true},
		{"no regions leave them as they are", `{"DERPMap":{}}`, []int{1, 2}, true},
		{"no DERP map leaves it as it is", `{}`, []int{1, 2}, true},
		{"a null alone withdraws all", `{"DERPMap":{"Regions":{"1":null}}}`, nil, false},
		{"impossible regions are left out", `{"DERPMap":{"Regions":{"0":{"Nodes":[{}]},"-1":{"Nodes":[{}]},"65536":{"Nodes":[{}]},"65535":{"Nodes":[{}]}}}}`, []int{65535}, false},
	} {
		m = apply(t, m, decode(t, step.resp))
		if got := m.DERPMap.IDs(); !slices.Equal(got, step.want) {
			t.Errorf("%s: the regions are %v, want %v", step.name, got, step.want)
		}
		if m.DERPMap == nil {
			continue
		}
		if m.DERPMap.OmitDefaultRegions != step.omit {
			t.Errorf("%s: default regions are omitted: %v", step.name, !step.omit)
		}
		for id, r := range m.DERPMap.Regions {
			if r == nil || r.RegionID != id || slices.Contains(r.Nodes, nil) {
				t.Errorf("%s: region %d is %+v", step.name, id, r)
			}
		}
	}
	if m := apply(t, start(t), &tailcfg.MapResponse{DERPMap: new(derpmap.Map)}); m.DERPMap == nil {
		t.Error("a first DERP map without regions is lost")
	}
}

func TestHomeParams(t *testing.T) {
	m := start(t)
	for _, step := range []struct {
		name, resp string
		regions    int
		scores     map[int]float64
	}{
		{"scores before there are regions", `{"DERPMap":{"HomeParams":{"RegionScore":{"1":0.5}}}}`, 0, map[int]float64{1: 0.5}},
		{"regions alone leave them as they are", `{"DERPMap":{"Regions":{"1":{},"2":{}}}}`, 2, map[int]float64{1: 0.5}},
		{"scores alone leave regions as they are", `{"DERPMap":{"HomeParams":{"RegionScore":{"2":3}}}}`, 2, map[int]float64{2: 3}},
		{"null is no change", `{"DERPMap":{"HomeParams":null,"Regions":{"1":{}}}}`, 1, map[int]float64{2: 3}},
		{"nor are parameters without scores", `{"DERPMap":{"HomeParams":{}}}`, 1, map[int]float64{2: 3}},
		{"nor is a score that is null", `{"DERPMap":{"HomeParams":{"RegionScore":null}}}`, 1, map[int]float64{2: 3}},
		{"both at once", `{"DERPMap":{"HomeParams":{"RegionScore":{"9":1}},"Regions":{"1":{},"2":{},"3":{}}}}`, 3, map[int]float64{9: 1}},
		{"an empty set takes all back", `{"DERPMap":{"HomeParams":{"RegionScore":{}}}}`, 3, map[int]float64{}},
	} {
		before := m.DERPMap
		m = apply(t, m, decode(t, step.resp))
		if got := m.DERPMap.HomeParams.RegionScore; !maps.Equal(got, step.scores) || len(m.DERPMap.Regions) != step.regions {
			t.Errorf("%s: scores are %v of %d regions", step.name, got, len(m.DERPMap.Regions))
		}
		if before == m.DERPMap && !maps.Equal(before.HomeParams.RegionScore, step.scores) {
			t.Errorf("%s: the map before was changed", step.name)
		}
	}
	if same := apply(t, m, decode(t, `{"DERPMap":{}}`)); same.DERPMap != m.DERPMap {
		t.Error("a change without content makes another map")
	}
}

func TestFilters(t *testing.T) {
	m := start(t)
	for _, step := range []struct {
		name, resp string
		known      bool
		want       string // the sources of all rules
	}{
		{"before any filter nothing is known", `{}`, false, ""},
		{"null is no filter", `{"PacketFilter":null,"PacketFilters":null}`, false, ""},
		{"an empty filter is one", `{"PacketFilter":[]}`, true, ""},
		{"a filter", `{"PacketFilter":[{"SrcIPs":["b1"]},{"SrcIPs":["b2"]}]}`, true, "b1 b2"},
		{"filters in the order of their names", `{"PacketFilters":{"z":[{"SrcIPs":["z"]}],"a":[{"SrcIPs":["a"]}]}}`, true, "a b1 b2 z"},
		{"one is replaced", `{"PacketFilters":{"a":[{"SrcIPs":["A"]}]}}`, true, "A b1 b2 z"},
		{"one is deleted", `{"PacketFilters":{"z":null,"unknown":null}}`, true, "A b1 b2"},
		{"one is emptied", `{"PacketFilters":{"a":[]}}`, true, "b1 b2"},
		{"base is what the single filter is called", `{"PacketFilters":{"base":[{"SrcIPs":["B"]}]}}`, true, "B"},
		{"a star that is not null means nothing", `{"PacketFilters":{"*":[{"SrcIPs":["*"]}]}}`, true, "B"},
		{"nothing changes nothing", `{}`, true, "B"},
		{"a star deletes all first", `{"PacketFilters":{"*":null,"n":[{"SrcIPs":["n"]}]}}`, true, "n"},
		{"no rules are left, but that is known", `{"PacketFilters":{"*":null}}`, true, ""},
	} {
		before := m
		was := snapshot(t, before)
		m = apply(t, m, decode(t, step.resp))
		var got []string
		for _, r := range m.Rules {
			got = append(got, r.SrcIPs...)
		}
		if strings.Join(got, " ") != step.want || m.FilterKnown != step.known {
			t.Errorf("%s: got %v, known %v, want %q, %v", step.name, got, m.FilterKnown, step.want, step.known)
		}
		if snapshot(t, before) != was {
			t.Errorf("%s: the earlier map has changed", step.name)
		}
	}
}

func TestOtherFields(t *testing.T) {
	m := apply(t, start(t), decode(t, `{"Domain":"example.com","Health":["a"],"TKAInfo":{"Head":"x"},"DNSConfig":{"Proxied":true},
		"UserProfiles":[{"ID":1,"LoginName":"alice"},{"ID":2,"LoginName":"bob"}]}`))
	old := m
	m = apply(t, m, decode(t, `{"UserProfiles":[{"ID":2,"LoginName":"Bob"}]}`), decode(t, `{}`))
	if m.Domain != "example.com" || !slices.Equal(m.Health, []string{"a"}) || !m.Locked() || !m.DNS.Proxied {
		t.Errorf("what is absent has changed: %+v", m)
	}
	for id, want := range map[tailcfg.UserID]string{1: "alice", 2: "Bob", 3: ""} {
		if p, ok := m.User(id); p.LoginName != want || ok != (want != "") {
			t.Errorf("user %d is %+v, %v", id, p, ok)
		}
	}
	if p, _ := old.User(2); p.LoginName != "bob" {
		t.Errorf("in the earlier map user 2 has become %+v", p)
	}
	m = apply(t, m, decode(t, `{"Health":[],"TKAInfo":{"Disabled":true}}`))
	if len(m.Health) != 0 || m.Locked() {
		t.Errorf("health is %v, locked %v, want none", m.Health, m.Locked())
	}
	if _, ok := (*Map)(nil).User(1); ok || (*Map)(nil).Locked() {
		t.Error("no map has users or a lock")
	}
}

func TestNormalised(t *testing.T) {
	address, route := netip.MustParsePrefix("100.64.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")
	for _, test := range []struct {
		name string
		json string
		want tailcfg.Node
	}{
		{"allowed prefixes that are null are the addresses", `{"Addresses":["100.64.0.1/32"],"AllowedIPs":null}`,
			tailcfg.Node{Addresses: []netip.Prefix{address}, AllowedIPs: []netip.Prefix{address}}},
		{"no allowed prefixes are none", `{"Addresses":["100.64.0.1/32"],"AllowedIPs":[]}`,
			tailcfg.Node{Addresses: []netip.Prefix{address}, AllowedIPs: []netip.Prefix{}}},
		{"an unsigned peer has its addresses only", `{"Addresses":["100.64.0.1/32"],"AllowedIPs":["10.0.0.0/8"],"UnsignedPeerAPIOnly":true}`,
			tailcfg.Node{Addresses: []netip.Prefix{address}, AllowedIPs: []netip.Prefix{address}, UnsignedPeerAPIOnly: true}},
		{"an address is one address", `{"Addresses":["100.64.0.0/10","100.64.0.1/32","::ffff:1.2.3.4/128",""],"AllowedIPs":["10.0.0.0/8",""]}`,
			tailcfg.Node{Addresses: []netip.Prefix{address}, AllowedIPs: []netip.Prefix{route}}},
		{"the home region of an older server", `{"DERP":"127.3.3.40:7"}`, tailcfg.Node{HomeDERP: 7}},
		{"today's home region goes before", `{"DERP":"127.3.3.40:7","HomeDERP":8}`, tailcfg.Node{HomeDERP: 8}},
		{"what is no region's address is no home", `{"DERP":"127.0.0.1:7"}`, tailcfg.Node{}},
		{"what is no address is no home", `{"DERP":"x"}`, tailcfg.Node{}},
		{"an impossible home is none", `{"HomeDERP":-1}`, tailcfg.Node{}},
		{"capabilities of an older server", `{"Capabilities":["a","b"],"CapMap":{"b":[1]}}`,
			tailcfg.Node{CapMap: map[string][]json.RawMessage{"a": nil, "b": {json.RawMessage("1")}}}},
		{"endpoints can be sent to", `{"Endpoints":["1.2.3.4:5","1.2.3.4:0","0.0.0.0:5","224.0.0.1:5",""]}`,
			tailcfg.Node{Endpoints: []netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:5")}}},
	} {
		var n tailcfg.Node
		if err := json.Unmarshal([]byte(test.json), &n); err != nil {
			t.Fatal(err)
		}
		if got := normalised(n); !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s: got\n%+v, want\n%+v", test.name, *got, test.want)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	n := node(1)
	for i := range 10_000 {
		p := netip.PrefixFrom(addr(i), 32)
		n.Addresses = append(n.Addresses, p)
		n.AllowedIPs = append(n.AllowedIPs, p)
		n.Endpoints = append(n.Endpoints, netip.AddrPortFrom(addr(i), 1))
	}
	n.Endpoints[0] = netip.AddrPort{}
	got := normalised(*n)
	if len(got.Addresses) != maxAddresses || len(got.AllowedIPs) != maxRoutes || len(got.Endpoints) != maxEndpoints {
		t.Errorf("of 10,000 each %d addresses, %d prefixes and %d endpoints are kept", len(got.Addresses), len(got.AllowedIPs), len(got.Endpoints))
	}
}

func TestBounds(t *testing.T) {
	m := start(t, nodes(1)...)
	manyPeers := make([]*tailcfg.Node, maxPeers)
	for i := range manyPeers {
		manyPeers[i] = &tailcfg.Node{ID: tailcfg.NodeID(i + 2)}
	}
	manyUsers := make([]tailcfg.UserProfile, maxUsers+1)
	for i := range manyUsers {
		manyUsers[i].ID = tailcfg.UserID(i)
	}
	manyRegions := &derpmap.Map{Regions: map[int]*derpmap.Region{}}
	for i := range maxRegions + 1 {
		manyRegions.Regions[i+1] = &derpmap.Region{}
	}
	manyScores := &derpmap.Map{HomeParams: &derpmap.HomeParams{RegionScore: map[int]float64{}}}
	for i := range maxRegions + 1 {
		manyScores.HomeParams.RegionScore[i] = 1
	}
	for _, test := range []struct {
		name string
		resp *tailcfg.MapResponse
	}{
		{"peers", &tailcfg.MapResponse{PeersChanged: manyPeers}},
		{"user profiles", &tailcfg.MapResponse{UserProfiles: manyUsers}},
		{"extra DNS records", &tailcfg.MapResponse{DNSConfig: &tailcfg.DNSConfig{ExtraRecords: make([]tailcfg.DNSRecord, maxRecords+1)}}},
		{"filter rule entries", &tailcfg.MapResponse{PacketFilter: []tailcfg.FilterRule{{SrcIPs: make([]string, maxRuleEntries)}}}},
		{"relay regions", &tailcfg.MapResponse{DERPMap: manyRegions}},
		{"scores of relay regions", &tailcfg.MapResponse{DERPMap: manyScores}},
	} {
		if got, err := m.Apply(test.resp, now); err == nil || got != m || !strings.Contains(err.Error(), test.name) {
			t.Errorf("too many %s: got error %v", test.name, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	expires := func(at time.Time) func(*tailcfg.Node) { return func(n *tailcfg.Node) { n.KeyExpiry = at } }
	hour, day := now.Add(time.Hour), now.Add(24*time.Hour)
	fast := start(t, node(1), node(2, expires(hour)), node(3, expires(day)), node(4, func(n *tailcfg.Node) { n.Expired = true }))
	// Our clock is half an hour behind the coordinator's from here on.
	control := now.Add(30 * time.Minute)
	unset := time.Date(2020, time.August, 3, 0, 0, 0, 0, time.UTC) // of a clock that nobody set: not believed
	m := apply(t, fast, &tailcfg.MapResponse{KeepAlive: true, ControlTime: &control},
		&tailcfg.MapResponse{ControlTime: new(time.Time)}, &tailcfg.MapResponse{ControlTime: &unset})
	for _, test := range []struct {
		name string
		m    *Map
		id   tailcfg.NodeID
		at   time.Time
		want bool
	}{
		{"a key without expiry", m, 1, day.AddDate(100, 0, 0), false},
		{"a node that is expired by word", m, 4, now, true},
		{"a key before its expiry", fast, 2, hour.Add(-1), false},
		{"a key at its expiry", fast, 2, hour, true},
		{"a key whose expiry has passed for the coordinator", m, 2, now.Add(30 * time.Minute), true},
		{"a key whose expiry is yet to come for the coordinator", m, 2, now.Add(30*time.Minute - 1), false},
	} {
		n, _ := test.m.ByID(test.id)
		if got := test.m.Expired(n, test.at); got != test.want {
			t.Errorf("%s is expired: %v", test.name, got)
		}
	}

	if at, ok := m.NextExpiry(now); !ok || !at.Equal(now.Add(30*time.Minute)) {
		t.Errorf("the next expiry is at %v, %v", at, ok)
	}
	if at, ok := m.NextExpiry(hour); !ok || !at.Equal(now.Add(23*time.Hour+30*time.Minute)) {
		t.Errorf("the expiry after that is at %v, %v", at, ok)
	}
	if at, ok := m.NextExpiry(day); ok {
		t.Errorf("after all expiries the next is at %v", at)
	}
	m = apply(t, m, &tailcfg.MapResponse{Node: node(self, expires(control.Add(time.Minute)))})
	if at, ok := m.NextExpiry(now); !ok || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("our own expiry is at %v, %v", at, ok)
	}
}

func TestResponseIsNotChanged(t *testing.T) {
	resp := decode(t, `{"Node":`+string(must(json.Marshal(node(self))))+`,"Peers":[{"ID":2,"DERP":"127.3.3.40:7","Capabilities":["a"],"Endpoints":["0.0.0.0:1"]},null,{"ID":1}],
		"DERPMap":{"Regions":{"1":null,"2":{"Nodes":[null]}}},"PacketFilters":{"*":null,"a":[]}}`)
	was := must(json.Marshal(resp))
	first := apply(t, nil, resp)
	if got := must(json.Marshal(resp)); string(got) != string(was) {
		t.Errorf("the response has become\n%s, was\n%s", got, was)
	}
	if again := apply(t, nil, resp); snapshot(t, again) != snapshot(t, first) {
		t.Error("the same response gives another map")
	}
}

func TestMapsShareStructure(t *testing.T) {
	m, yes := start(t, nodes(1, 2, 3)...), true
	next := apply(t, m, patches(tailcfg.PeerChange{Online: &yes, DERPRegion: 5}), &tailcfg.MapResponse{PeersChanged: nodes(3)})
	if next.index != m.index || next.Names != m.Names || next.Peers[0] != m.Peers[0] {
		t.Error("a patch that touches neither keys nor addresses nor names rebuilds them")
	}
}

func FuzzApply(f *testing.F) {
	me := `{"Node":` + string(must(json.Marshal(node(self)))) + `}`
	peers := `{"Peers":` + string(must(json.Marshal(nodes(1, 2, 3)))) + `}`
	thief := `{"PeersChanged":[` + string(must(json.Marshal(node(1, func(n *tailcfg.Node) {
		n.Key, n.Addresses = nodeKey(2), []netip.Prefix{netip.PrefixFrom(addr(3), 32)}
	})))) + `,null]}`
	f.Add([]byte(me + "\n" + peers + "\n" + thief))
	f.Add([]byte(me + "\n" + peers + "\n" + `{"PeersRemoved":[1],"OnlineChange":{"2":true},"PeerSeenChange":{"2":false},"PeersChangedPatch":[null,{"NodeID":2,"DERPRegion":-1,"Endpoints":[]}]}`))
	f.Add([]byte(me + "\n" + `{"DERPMap":{"Regions":{"1":null}},"PacketFilters":{"*":null,"a":[{}]},"DNSConfig":{"ExtraRecords":[{}]},"UserProfiles":[{"ID":1}]}`))
	f.Add([]byte(me + "\n" + `{"KeepAlive":true,"ControlTime":"9999-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var m *Map
		for text := range strings.SplitSeq(string(stream), "\n") {
			resp := new(tailcfg.MapResponse)
			if json.Unmarshal([]byte(text), resp) != nil {
				continue
			}
			was := snapshot(t, m)
			next, err := m.Apply(resp, now)
			if snapshot(t, m) != was {
				t.Fatalf("%s changed the earlier map", text)
			}
			if err != nil && next != m {
				t.Fatalf("%s is refused, but gives another map", text)
			}
			if m = next; m != nil {
				checkInvariants(t, m)
				m.Expired(m.Self, now)
				m.NextExpiry(now)
			}
		}
	})
}

func large(b *testing.B) *Map {
	list := make([]*tailcfg.Node, 10_000)
	for i := range list {
		list[i] = node(i+self+1, func(n *tailcfg.Node) {
			n.Addresses = append(n.Addresses, netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)}), 128))
		})
	}
	m, err := (*Map)(nil).Apply(&tailcfg.MapResponse{Node: node(self), Peers: list}, now)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkApply10000(b *testing.B) {
	m, yes, newKey := large(b), true, nodeKey(1<<20)
	for _, bench := range []struct {
		name string
		resp *tailcfg.MapResponse
	}{
		{"patch", &tailcfg.MapResponse{PeersChangedPatch: []*tailcfg.PeerChange{{NodeID: self + 5000, Online: &yes}}}},
		{"patch-key", &tailcfg.MapResponse{PeersChangedPatch: []*tailcfg.PeerChange{{NodeID: self + 5000, Key: &newKey}}}},
		{"add", &tailcfg.MapResponse{PeersChanged: nodes(1)}},
		{"full", &tailcfg.MapResponse{Peers: m.Peers}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Apply(bench.resp, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
