package meshnet

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestHealth(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	no := false
	relays := &derpmap.Map{Regions: map[int]*derpmap.Region{1: {RegionCode: "fra", Nodes: []*derpmap.Node{{}}}}}
	for _, test := range []struct {
		name string
		view view
		resp tailcfg.MapResponse
		self tailcfg.Node
		want string // in the only sentence; empty: all is well
	}{
		{"all is well", view{relay: magicsock.Local{Connected: true}}, tailcfg.MapResponse{DERPMap: relays}, tailcfg.Node{}, ""},
		{"no relays at all", view{}, tailcfg.MapResponse{}, tailcfg.Node{}, ""},
		{"a key that does not expire soon", view{}, tailcfg.MapResponse{}, tailcfg.Node{KeyExpiry: now.Add(96 * time.Hour)}, ""},
		{"the coordinator is lost", view{lost: errors.New("connection refused")}, tailcfg.MapResponse{}, tailcfg.Node{}, "connection refused"},
		{"no relay answers", view{}, tailcfg.MapResponse{DERPMap: relays}, tailcfg.Node{}, "No relay answers"},
		{"the relay is lost", view{relay: magicsock.Local{HomeDERP: 1}}, tailcfg.MapResponse{DERPMap: relays}, tailcfg.Node{}, "relay, fra, is not connected"},
		{"UDP is blocked", view{relay: magicsock.Local{NetInfo: &tailcfg.NetInfo{WorkingUDP: &no}}}, tailcfg.MapResponse{}, tailcfg.Node{}, "Allow outgoing UDP"},
		{"the key expires", view{}, tailcfg.MapResponse{}, tailcfg.Node{KeyExpiry: now.Add(48 * time.Hour)}, "2026-03-03T12:00:00Z"},
		{"the clock is behind", view{}, tailcfg.MapResponse{ControlTime: new(now.Add(time.Hour))}, tailcfg.Node{}, "1h0m0s behind"},
		{"the clock is ahead", view{}, tailcfg.MapResponse{ControlTime: new(now.Add(-3 * time.Minute))}, tailcfg.Node{}, "3m0s ahead"},
		{"the coordinator says something", view{}, tailcfg.MapResponse{Health: []string{"a flood"}}, tailcfg.Node{}, "The coordinator says: a flood"},
		{"a login is needed", view{state: StateNeedsLogin, authURL: "https://login.test/"}, tailcfg.MapResponse{}, tailcfg.Node{}, "https://login.test/"},
		{"approval is needed", view{state: StateNeedsApproval}, tailcfg.MapResponse{}, tailcfg.Node{}, "an admin must approve"},
		{"the node has failed", view{state: StateFailed, err: errors.New("no such key")}, tailcfg.MapResponse{}, tailcfg.Node{}, "no such key"},
		{"the node is on its way", view{state: StateStarting}, tailcfg.MapResponse{}, tailcfg.Node{}, ""},
		{"the node is stuck on its way", view{state: StateStarting, err: errors.New("no route")}, tailcfg.MapResponse{}, tailcfg.Node{}, "no route"},
	} {
		if test.view.state == "" {
			test.view.state = StateRunning
		}
		test.resp.Node, test.resp.PacketFilter = &test.self, []tailcfg.FilterRule{}
		var err error
		if test.view.netMap, err = (*netmap.Map)(nil).Apply(&test.resp, now); err != nil {
			t.Fatal(err)
		}
		got := test.view.health(now)
		if test.want == "" && len(got) != 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
	m, err := (*netmap.Map)(nil).Apply(&tailcfg.MapResponse{Node: &tailcfg.Node{}}, now)
	if got := (view{state: StateRunning, netMap: m}).health(now); err != nil || len(got) != 1 || !strings.Contains(got[0], "packet filter") {
		t.Errorf("without a packet filter: %q, %v", got, err)
	}
}

// TestHealthOfANode takes the coordinator and the relay from a node, and gives
// them back.
func TestHealthOfANode(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	wantHealth := func(sentences ...string) {
		t.Helper()
		eventually(t, "its health is "+strings.Join(sentences, ", "), func() bool {
			got := s.Status().Health
			for i, want := range sentences {
				if i >= len(got) || !strings.Contains(got[i], want) {
					return false
				}
			}
			return len(got) == len(sentences)
		})
	}
	wantHealth()
	m.control.stop()
	wantHealth("The coordinator is not heard")
	m.relay.stop()
	wantHealth("The coordinator is not heard", "The home relay, test")
	m.startCoord()
	m.startRelay()
	wantHealth()
}

func TestHealthOfRoutes(t *testing.T) {
	m := mapOf(t,
		offered{"plain", "100.64.0.2/32", "100.64.0.2/32", nil},
		offered{"exit", "100.64.0.5/32", "100.64.0.5/32 0.0.0.0/0 ::/0", nil},
	)
	m.Self.AllowedIPs = prefixes("100.64.0.1/32 10.0.0.0/8")
	for _, test := range []struct {
		name   string
		routes routes
		want   []string // a part of each sentence
	}{
		{"none", routes{}, nil},
		{"an exit node that is one", routes{exitNode: "exit"}, nil},
		{"an exit node that is none", routes{exitNode: "plain"}, []string{"exit node plain does not offer to be one"}},
		{"an exit node that is nobody", routes{exitNode: "nobody"}, []string{"exit node nobody is no peer"}},
		{"routes that are approved", routes{advertise: prefixes("10.0.0.0/8")}, nil},
		{"routes that wait", routes{advertise: prefixes("10.0.0.0/8 10.1.0.0/16 fd00::/64")}, []string{"leads to: 10.1.0.0/16, fd00::/64."}},
	} {
		got := test.routes.health(m)
		if !slices.EqualFunc(got, test.want, strings.Contains) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

func TestHealthOfARouter(t *testing.T) {
	m := newMesh(t, nil)
	router := m.server("router")
	router.AdvertiseRoutes = prefixes("10.0.0.0/8")
	m.start(router)
	want := func(sentences ...string) {
		t.Helper()
		eventually(t, "its health is "+strings.Join(sentences, ", "), func() bool {
			return slices.EqualFunc(router.Status().Health, sentences, strings.Contains)
		})
	}
	want("approve", "Set Router")
	m.approve(router, "10.0.0.0/8")
	want("Set Router")
	router.RegisterFallbackTCPHandler(func(netip.AddrPort, netip.AddrPort) (func(net.Conn), bool) { return nil, true })
	want()
}
