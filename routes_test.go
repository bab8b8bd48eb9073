package meshnet

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

func prefixes(text string) (list []netip.Prefix) {
	for _, p := range strings.Fields(text) {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// A offered is a peer with what it offers to be behind it.
type offered struct {
	name, addresses, allowed string
	edit                     func(*tailcfg.Node)
}

// mapOf returns the map of a node 100.64.0.1 with peers.
func mapOf(t testing.TB, peers ...offered) *netmap.Map {
	t.Helper()
	resp := &tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1000, Name: "self.mesh.", Key: key.NewNode().Public(), Addresses: prefixes("100.64.0.1/32 fd7a::1/128")}}
	for i, p := range peers {
		n := &tailcfg.Node{ID: tailcfg.NodeID(i + 1), Name: p.name + ".mesh.", Key: key.NewNode().Public(), Addresses: prefixes(p.addresses), AllowedIPs: prefixes(p.allowed)}
		if p.edit != nil {
			p.edit(n)
		}
		resp.Peers = append(resp.Peers, n)
	}
	m, err := (*netmap.Map)(nil).Apply(resp, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhereARouteLeads(t *testing.T) {
	expired := func(n *tailcfg.Node) { n.Expired = true }
	m := mapOf(t,
		offered{"plain", "100.64.0.2/32", "100.64.0.2/32", nil},
		offered{"office", "100.64.0.3/32", "100.64.0.3/32 10.0.0.0/8 192.168.1.0/24 192.168.1.9/32", nil},
		offered{"lab", "100.64.0.4/32 fd7a::4/128", "100.64.0.4/32 fd7a::4/128 10.1.0.0/16 192.168.1.0/24", nil},
		offered{"exit", "100.64.0.5/32", "100.64.0.5/32 0.0.0.0/0 ::/0", nil},
		offered{"other-exit", "100.64.0.6/32", "100.64.0.6/32 0.0.0.0/0 ::/0", nil},
		offered{"gone", "100.64.0.7/32", "100.64.0.7/32 172.16.0.0/12", expired},
		offered{"jailed", "100.64.0.8/32", "100.64.0.8/32 10.9.0.0/16 0.0.0.0/0", func(n *tailcfg.Node) { n.IsJailed = true }},
	)
	for _, tt := range []struct {
		routes routes
		to     string
		want   string // the peer, or what the error says
	}{
		{routes{}, "100.64.0.2", "plain"},
		{routes{}, "10.0.0.1", "nor does a route that is accepted"},
		{routes{accept: true}, "10.0.0.1", "office"},
		{routes{accept: true}, "10.1.0.1", "lab"},
		{routes{accept: true}, "10.9.0.1", "office"},
		{routes{accept: true}, "192.168.1.1", "office"}, // the first of two
		{routes{accept: true}, "192.168.1.9", "office"},
		{routes{accept: true}, "172.16.0.1", "nor does a route that is accepted"},
		{routes{accept: true}, "8.8.8.8", "nor does a route that is accepted"},
		{routes{accept: true}, "100.64.0.7", "gone.mesh has an expired key"},
		{routes{exitNode: "exit"}, "8.8.8.8", "exit"},
		{routes{exitNode: "exit"}, "10.0.0.1", "exit"},
		{routes{exitNode: "exit"}, "2001:db8::1", "exit"},
		{routes{exitNode: "exit"}, "100.64.0.7", "gone.mesh has an expired key"},
		{routes{exitNode: "other-exit.mesh", accept: true}, "10.0.0.1", "office"},
		{routes{exitNode: "100.64.0.6", accept: true}, "8.8.8.8", "other-exit"},
		{routes{exitNode: "lab"}, "8.8.8.8", "the exit node lab does not offer to be one"},
		{routes{exitNode: "fd7a::4"}, "8.8.8.8", "the exit node fd7a::4 does not offer to be one"},
		{routes{exitNode: "jailed"}, "8.8.8.8", "the exit node jailed cannot be used as one"},
		{routes{exitNode: "nobody"}, "8.8.8.8", "the exit node nobody is no peer"},
		{routes{exitNode: "self"}, "8.8.8.8", "the exit node self is no peer"},
		{routes{exitNode: "100.64.9.9"}, "8.8.8.8", "the exit node 100.64.9.9 is no peer"},
	} {
		ip, now := netip.MustParseAddr(tt.to), time.Now()
		err := tt.routes.reachable(m, ip, now)
		peer, ok := tt.routes.to(m, ip, now)
		switch {
		case err == nil && (!ok || peer.Name != tt.want+".mesh."), err != nil && !strings.Contains(err.Error(), tt.want):
			t.Errorf("%+v: %s leads to %v, %v; want %s", tt.routes, tt.to, peer, err, tt.want)
		case err != nil:
			continue
		}
		// WireGuard sends there as well: the narrowest prefix of all, the first of equals.
		through, bits := key.NodePublic{}, -1
		for _, p := range tt.routes.wgPeers(m, reachablePeers(m, now), now) {
			for _, allowed := range p.AllowedIPs {
				if allowed.Contains(ip) && allowed.Bits() > bits {
					through, bits = p.Key, allowed.Bits()
				}
			}
		}
		if through != peer.Key {
			t.Errorf("%+v: WireGuard sends packets to %s elsewhere than to %s", tt.routes, tt.to, tt.want)
		}
	}
}

// Who is a router for everything does not stand for us, nor for nodes that are
// cut off.
func TestRoutesLeaveNodesOut(t *testing.T) {
	m := mapOf(t,
		offered{"exit", "100.64.0.5/32", "100.64.0.5/32 0.0.0.0/0 ::/0 100.64.0.0/10", nil},
		offered{"gone", "100.64.0.7/32 fd7a::7/128", "100.64.0.7/32", func(n *tailcfg.Node) { n.Expired = true }},
	)
	now := time.Now()
	peers := routes{accept: true, exitNode: "exit"}.wgPeers(m, reachablePeers(m, now), now)
	if len(peers) != 1 {
		t.Fatalf("there are %d peers", len(peers))
	}
	holds := func(ip string) bool {
		return slices.ContainsFunc(peers[0].AllowedIPs, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(ip)) })
	}
	for ip, want := range map[string]bool{
		"100.64.0.1": false, "fd7a::1": false, // ourselves
		"100.64.0.7": false, "fd7a::7": false, // cut off
		"100.64.0.5": true, "100.64.0.6": true, "8.8.8.8": true, "fd7a::8": true, "2001:db8::1": true,
	} {
		if holds(ip) != want {
			t.Errorf("%s is behind the exit node: %v", ip, !want)
		}
	}
}

func TestWhatPeersMaySendThroughUs(t *testing.T) {
	self := func(approved string) *tailcfg.Node {
		own := prefixes("100.64.0.1/32")
		return &tailcfg.Node{Addresses: own, AllowedIPs: append(slices.Clone(own), prefixes(approved)...)}
	}
	lan := prefixes("203.0.113.5/24 192.168.1.2/24 2001:db8::5/64")
	for _, tt := range []struct {
		why                 string
		advertise, approved string
		reaches, doesNot    string
	}{
		{"nothing is advertised", "", "10.0.0.0/8 0.0.0.0/0", "100.64.0.1", "10.0.0.1 8.8.8.8"},
		{"nothing is approved", "10.0.0.0/8 0.0.0.0/0", "", "100.64.0.1", "10.0.0.1 8.8.8.8"},
		{"a subnet", "10.0.0.0/8 192.168.1.0/24", "192.168.1.0/24", "100.64.0.1 192.168.1.2", "10.0.0.1"},
		{"a part of it", "10.0.0.0/8", "10.0.0.0/16", "100.64.0.1", "10.0.0.1"},
		{"the Internet", "0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0", "8.8.8.8 203.0.112.1 2606:4700::1 2001:db8:0:1::1",
			"10.0.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.168.1.2 100.64.0.2 203.0.113.5 203.0.113.77 224.0.0.1 255.255.255.255 0.0.0.0 ::1 fe80::1 fd7a::2 2001:db8::77 ::ffff:10.0.0.1 64:ff9b::a00:1"},
		{"the Internet and a subnet", "0.0.0.0/0 192.168.1.0/24", "0.0.0.0/0 192.168.1.0/24", "8.8.8.8 192.168.1.2", "192.168.2.1 2606:4700::1"},
	} {
		local := routes{advertise: prefixes(tt.advertise)}.local(self(tt.approved), lan)
		holds := func(ip string) bool {
			return slices.ContainsFunc(local, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(ip)) })
		}
		for _, ip := range strings.Fields(tt.reaches) {
			if !holds(ip) {
				t.Errorf("%s: %s is out of reach", tt.why, ip)
			}
		}
		for _, ip := range strings.Fields(tt.doesNot) {
			if holds(ip) {
				t.Errorf("%s: %s is within reach", tt.why, ip)
			}
		}
	}
}

func TestRouteConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		srv  *Server
		want string
	}{
		{&Server{AdvertiseRoutes: prefixes("10.0.0.1/8")}, "10.0.0.0/8"},
		{&Server{AdvertiseRoutes: prefixes("0.0.0.0/0")}, "AdvertiseExitNode"},
		{&Server{AdvertiseRoutes: prefixes("127.0.0.0/8")}, "not routed"},
		{&Server{AdvertiseRoutes: prefixes("fe80::/64")}, "not routed"},
		{&Server{AdvertiseRoutes: []netip.Prefix{{}}}, "no prefix"},
		{&Server{AdvertiseExitNode: true, ExitNode: "a"}, "exclude each other"},
	} {
		tt.srv.Ephemeral, tt.srv.ControlURL = true, "https://a"
		if err := tt.srv.Start(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("the error does not say %q: %v", tt.want, err)
		}
		tt.srv.Close()
	}
	// What the coordinator is told.
	r, err := (&Server{AdvertiseRoutes: prefixes("10.0.0.0/8 10.0.0.0/8"), AdvertiseExitNode: true}).routes()
	if text, _ := json.Marshal(r.advertise); err != nil || string(text) != `["0.0.0.0/0","10.0.0.0/8","::/0"]` {
		t.Errorf("the routes are %s, %v", text, err)
	}
}
