package netmap

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// TestResponse writes maps and reads them: the same comes back, by whatever
// responses it came about.
func TestResponse(t *testing.T) {
	theirs := now.Add(time.Hour)
	rules := []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "*"}}}}
	for what, m := range map[string]*Map{
		"alone": start(t),
		"peers and users": apply(t, nil, &tailcfg.MapResponse{
			Node: node(self), Peers: nodes(1, 2, 3), Domain: "tail.example.com",
			UserProfiles: []tailcfg.UserProfile{{ID: 2, LoginName: "b"}, {ID: 1, LoginName: "a"}},
			DERPMap:      &derpmap.Map{Regions: map[int]*derpmap.Region{1: {RegionID: 1}}},
			DNSConfig:    &tailcfg.DNSConfig{ExtraRecords: []tailcfg.DNSRecord{{Name: "x.example.com", Value: "100.64.9.9"}}},
			TKAInfo:      &tailcfg.TKAInfo{Head: "h"},
		}),
		"a clock that is off":    apply(t, start(t), &tailcfg.MapResponse{ControlTime: &theirs}),
		"rules":                  apply(t, start(t), &tailcfg.MapResponse{PacketFilter: rules}),
		"rules by name":          apply(t, start(t), &tailcfg.MapResponse{PacketFilters: map[string][]tailcfg.FilterRule{"x": rules, "y": {}}}),
		"a filter without rules": apply(t, start(t), &tailcfg.MapResponse{PacketFilter: []tailcfg.FilterRule{}}),
		"two with one key":       start(t, node(1), node(2, func(n *tailcfg.Node) { n.Key = nodeKey(1) })),
		"a peer that went":       apply(t, start(t, nodes(1, 2)...), &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{1}}),
	} {
		later := now.Add(time.Minute)
		text, err := json.Marshal(m.Response(later))
		if err != nil {
			t.Fatal(err)
		}
		var none *Map
		again, err := none.Apply(decode(t, string(text)), later)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		checkInvariants(t, again)
		if what == "a filter without rules" {
			if !again.FilterKnown || len(again.Rules) != 0 {
				t.Errorf("%s: the filter is known: %v, with %d rules", what, again.FilterKnown, len(again.Rules))
			}
			continue // which was one by name, and is one of all
		}
		got, want := snapshot(t, again), snapshot(t, m)
		if want = strings.Replace(want, `"Peers": null`, `"Peers": []`, 1); got != want {
			t.Errorf("%s: came back as\n%s\nwas\n%s", what, got, want)
		}
	}
}

func TestResponseLeavesOutTheMoment(t *testing.T) {
	online := true
	m := start(t, node(1, func(n *tailcfg.Node) { n.Online, n.Hostinfo = &online, &tailcfg.Hostinfo{Hostname: "h"} }))
	resp := m.Response(now)
	if p := resp.Peers[0]; p.Online != nil || p.Hostinfo != nil {
		t.Errorf("the peer is %+v", p)
	}
	if p := m.Peers[0]; p.Online == nil || p.Hostinfo == nil {
		t.Error("the map itself was changed")
	}
}
