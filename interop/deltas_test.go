package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet"
)

// scripted is a meshnet node and a tsnet node on testcontrol. What the
// coordinator says from now on is written by the test.
type scripted struct {
	*tailnet
	mesh *meshnetNode
	ts   *tsnetNode
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	tailnet := theirTailnet(t)
	s := &scripted{tailnet, tailnet.startRelayed(t, "mesh1"), tailnet.startTsnet(t, "ts1")}
	awaitPeers(t, s.suffix, s.mesh, s.ts)
	s.connected(t)
	return s
}

// tell sends the node a map response of the test's own.
func (s *scripted) tell(t *testing.T, n node, resp *tstailcfg.MapResponse) {
	t.Helper()
	equal(t, n.host()+" listens to the coordinator", s.control.AddRawMapResponse(theirNodePublic(n.key()), resp), true)
}

// known returns what the coordinator knows of a node.
func (s *scripted) known(n node) *tstailcfg.Node { return s.control.Node(theirNodePublic(n.key())) }

// connected waits until each of the two reaches the other.
func (s *scripted) connected(t *testing.T) {
	t.Helper()
	s.tailnet.connected(t, s.mesh, s.ts)
}

// sees waits until the meshnet node's view of a peer is as wanted.
func (s *scripted) sees(t *testing.T, host, what string, is func(meshnet.PeerStatus) bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s sees that %s %s", s.mesh.host(), host, what), func(context.Context) error {
		peer, ok := s.mesh.peer(host)
		switch {
		case !ok:
			return errors.New("it does not know it")
		case !is(peer):
			return fmt.Errorf("it sees %+v", peer)
		}
		return nil
	})
}

// forgets waits until the meshnet node does not know a peer.
func (s *scripted) forgets(t *testing.T, host string) {
	t.Helper()
	eventually(t, s.mesh.host()+" forgets "+host, func(context.Context) error {
		if peer, ok := s.mesh.peer(host); ok {
			return fmt.Errorf("it knows %+v", peer)
		}
		return nil
	})
}

// stranger is a node that exists only in what the test tells.
func stranger() *tstailcfg.Node {
	return &tstailcfg.Node{
		ID:                9,
		StableID:          "stranger",
		Name:              "stranger.mesh.test.",
		User:              77,
		Key:               tskey.NewNode().Public(),
		Machine:           tskey.NewMachine().Public(),
		DiscoKey:          tskey.NewDisco().Public(),
		Addresses:         []netip.Prefix{netip.MustParsePrefix("100.64.0.9/32")},
		HomeDERP:          1,
		MachineAuthorized: true,
	}
}

func TestDeltaPeersChangedAndRemoved(t *testing.T) {
	s := newScripted(t)
	someone := stranger()
	s.tell(t, s.mesh, &tstailcfg.MapResponse{
		PeersChanged: []*tstailcfg.Node{someone},
		UserProfiles: []tstailcfg.UserProfile{{ID: 77, LoginName: "fay@example.com"}},
	})
	s.sees(t, "stranger", "is there", func(meshnet.PeerStatus) bool { return true })
	name, login, err := s.mesh.whoIs(t.Context(), "100.64.0.9")
	check(t, "the stranger's address is known", err)
	equal(t, "its name", name, "stranger.mesh.test")
	equal(t, "its user", login, "fay@example.com")

	renamed := someone.Clone()
	renamed.Name = "renamed.mesh.test."
	renamed.Addresses = []netip.Prefix{netip.MustParsePrefix("100.64.0.10/32")}
	s.tell(t, s.mesh, &tstailcfg.MapResponse{PeersChanged: []*tstailcfg.Node{renamed}})
	s.sees(t, "renamed", "has another address", func(p meshnet.PeerStatus) bool {
		return len(p.Addresses) == 1 && p.Addresses[0] == renamed.Addresses[0].Addr()
	})
	s.forgets(t, "stranger")
	if name, _, err := s.mesh.whoIs(t.Context(), "100.64.0.9"); err == nil {
		t.Errorf("an address that nobody has is still that of %s", name)
	}

	s.tell(t, s.mesh, &tstailcfg.MapResponse{PeersRemoved: []tstailcfg.NodeID{someone.ID}})
	s.forgets(t, "renamed")
	s.connected(t)
}

func TestDeltaARemovedPeerIsCutOffUntilItIsBack(t *testing.T) {
	s := newScripted(t)
	ts := s.known(s.ts)
	s.tell(t, s.mesh, &tstailcfg.MapResponse{PeersRemoved: []tstailcfg.NodeID{ts.ID}})
	s.forgets(t, "ts1")
	s.cutOff(t, s.mesh, s.ts)
	s.cutOff(t, s.ts, s.mesh)
	if c, err := s.mesh.dial(within(t, time.Second), "tcp", "ts1:80"); err == nil {
		c.Close()
		t.Error("the name of a removed peer can be dialed")
	}

	s.tell(t, s.mesh, &tstailcfg.MapResponse{PeersChanged: []*tstailcfg.Node{ts}})
	s.connected(t)
}

func TestDeltaAFullListReplacesAllPeers(t *testing.T) {
	s := newScripted(t)
	someone := stranger()
	s.tell(t, s.mesh, &tstailcfg.MapResponse{Peers: []*tstailcfg.Node{someone}})
	s.forgets(t, "ts1")
	s.cutOff(t, s.ts, s.mesh)
	s.tell(t, s.mesh, &tstailcfg.MapResponse{Peers: []*tstailcfg.Node{s.known(s.ts)}})
	s.forgets(t, "stranger")
	s.connected(t)
}

func TestDeltaOnlineAndLastSeen(t *testing.T) {
	s := newScripted(t)
	id := s.known(s.ts).ID
	patch := func(change tstailcfg.PeerChange) *tstailcfg.MapResponse {
		change.NodeID = id
		return &tstailcfg.MapResponse{PeersChangedPatch: []*tstailcfg.PeerChange{&change}}
	}
	seen := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

	s.tell(t, s.mesh, &tstailcfg.MapResponse{OnlineChange: map[tstailcfg.NodeID]bool{id: false}})
	s.sees(t, "ts1", "is offline", func(p meshnet.PeerStatus) bool { return !p.Online })
	s.tell(t, s.mesh, patch(tstailcfg.PeerChange{LastSeen: &seen}))
	s.sees(t, "ts1", "was last seen in 2024", func(p meshnet.PeerStatus) bool { return p.LastSeen.Equal(seen) })
	s.tell(t, s.mesh, &tstailcfg.MapResponse{PeerSeenChange: map[tstailcfg.NodeID]bool{id: true}})
	s.sees(t, "ts1", "was seen just now", func(p meshnet.PeerStatus) bool { return p.LastSeen.After(seen) })
	s.tell(t, s.mesh, patch(tstailcfg.PeerChange{Online: new(true)}))
	s.sees(t, "ts1", "is online", func(p meshnet.PeerStatus) bool { return p.Online })
	s.connected(t) // what a node is said to be is not what it can do
}

func TestDeltaAPeerWhoseKeyExpiresIsCutOffUntilItIsRenewed(t *testing.T) {
	s := newScripted(t)
	expiry := func(at time.Time) *tstailcfg.MapResponse {
		return &tstailcfg.MapResponse{PeersChangedPatch: []*tstailcfg.PeerChange{{NodeID: s.known(s.ts).ID, KeyExpiry: &at}}}
	}
	s.tell(t, s.mesh, expiry(time.Now().Add(-time.Minute)))
	s.sees(t, "ts1", "has expired", func(p meshnet.PeerStatus) bool { return p.Expired })
	s.cutOff(t, s.mesh, s.ts)
	s.cutOff(t, s.ts, s.mesh)

	s.tell(t, s.mesh, expiry(time.Now().Add(time.Hour)))
	s.sees(t, "ts1", "has not expired", func(p meshnet.PeerStatus) bool { return !p.Expired })
	s.connected(t)

	s.tell(t, s.mesh, expiry(time.Now().Add(500*time.Millisecond))) // and nothing more is said
	s.sees(t, "ts1", "has expired by itself", func(p meshnet.PeerStatus) bool { return p.Expired })
	s.cutOff(t, s.mesh, s.ts)
}

func TestDeltaAPeerWithAnotherKeyIsAnother(t *testing.T) {
	s := newScripted(t)
	ts := s.known(s.ts)
	become := func(k tskey.NodePublic) *tstailcfg.MapResponse {
		return &tstailcfg.MapResponse{PeersChangedPatch: []*tstailcfg.PeerChange{{NodeID: ts.ID, Key: &k}}}
	}
	other := tskey.NewNode().Public()
	s.tell(t, s.mesh, become(other))
	s.sees(t, "ts1", "has another key", func(p meshnet.PeerStatus) bool { return p.Key == ourNodePublic(other) })
	s.cutOff(t, s.mesh, s.ts)
	s.cutOff(t, s.ts, s.mesh)

	s.tell(t, s.mesh, become(ts.Key))
	s.sees(t, "ts1", "has its key back", func(p meshnet.PeerStatus) bool { return p.Key == s.ts.key() })
	s.connected(t)
}

func TestDeltaAPeersDiscoKey(t *testing.T) {
	s := newScripted(t)
	ts := s.known(s.ts)
	become := func(k tskey.DiscoPublic) *tstailcfg.MapResponse {
		return &tstailcfg.MapResponse{PeersChangedPatch: []*tstailcfg.PeerChange{{NodeID: ts.ID, DiscoKey: &k}}}
	}
	pong := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return s.ping(ctx, tstailcfg.PingDisco)
	}
	check(t, "ts1 pings mesh1", poll(within(t, 10*time.Second), pong))

	s.tell(t, s.mesh, become(tskey.NewDisco().Public()))
	eventually(t, "a ping sealed with an unknown key is not answered", func(ctx context.Context) error {
		if pong(ctx) == nil {
			return errors.New("it is")
		}
		return nil
	})
	s.reaches(t, s.mesh, s.ts) // through the relay, which asks for no disco key

	s.tell(t, s.mesh, become(ts.DiscoKey))
	check(t, "ts1 pings mesh1 again", poll(within(t, 10*time.Second), pong))
}

func TestDeltaFilters(t *testing.T) {
	s := newScripted(t)
	rules := func(filters map[string][]tstailcfg.FilterRule) *tstailcfg.MapResponse {
		return &tstailcfg.MapResponse{PacketFilters: filters}
	}
	everything := tstailcfg.FilterAllowAll

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"base": nil})) // what it had
	s.cutOff(t, s.ts, s.mesh)
	s.reaches(t, s.mesh, s.ts) // answers to what we begin need no rule

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"web": {{
		SrcIPs:   []string{"100.64.0.0/10"},
		DstPorts: []tstailcfg.NetPortRange{{IP: "*", Ports: tstailcfg.PortRange{First: 80, Last: 80}}},
	}}}))
	s.port(t, 80, true)
	s.port(t, 81, false)

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"more": {{
		SrcIPs:   []string{"*"},
		DstPorts: []tstailcfg.NetPortRange{{IP: "*", Ports: tstailcfg.PortRange{First: 81, Last: 81}}},
	}}}))
	s.port(t, 81, true)
	s.port(t, 80, true)

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"web": nil}))
	s.port(t, 80, false)
	s.port(t, 81, true)

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"*": nil}))
	s.port(t, 81, false)

	s.tell(t, s.mesh, &tstailcfg.MapResponse{PacketFilter: everything}) // the older form
	s.connected(t)

	s.tell(t, s.mesh, rules(map[string][]tstailcfg.FilterRule{"*": nil, "all": everything}))
	s.connected(t)
}

// port waits until ts1 reaches a port of mesh1, or does not any more.
func (s *scripted) port(t *testing.T, port int, open bool) {
	t.Helper()
	ln, err := s.mesh.listen("tcp", fmt.Sprintf(":%d", port))
	check(t, "mesh1 listens", err)
	defer ln.Close()
	go closeAccepted(ln)
	ip4, _ := s.mesh.ips()
	eventually(t, fmt.Sprintf("port %d is open to ts1: %v", port, open), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
		defer cancel()
		c, err := s.ts.dial(ctx, "tcp", net.JoinHostPort(ip4.String(), strconv.Itoa(port)))
		if err == nil {
			c.Close()
		}
		if (err == nil) != open {
			return fmt.Errorf("dialing it ends with error %v", err)
		}
		return nil
	})
}

func closeAccepted(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

func TestDeltaDERPMap(t *testing.T) {
	s := newScripted(t)
	first := s.control.DERPMap.Regions[1]
	second := theirRelay(t).Regions[1]
	second.RegionID, second.RegionCode = 2, "r2"
	second.Nodes[0].Name, second.Nodes[0].RegionID = "2a", 2
	regions := func(one, two *tstailcfg.DERPRegion) *tstailcfg.MapResponse {
		return &tstailcfg.MapResponse{DERPMap: &tstailcfg.DERPMap{Regions: map[int]*tstailcfg.DERPRegion{1: one, 2: two}}}
	}

	// The node whose home is withdrawn moves, and is reached where it is now.
	s.tell(t, s.ts, regions(first, second))
	s.tell(t, s.mesh, regions(nil, second))
	eventually(t, "mesh1 moves home to the second region", func(context.Context) error {
		if home := s.known(s.mesh).HomeDERP; home != 2 {
			return fmt.Errorf("its home is %d", home)
		}
		return nil
	})
	s.tell(t, s.ts, &tstailcfg.MapResponse{PeersChangedPatch: []*tstailcfg.PeerChange{{
		NodeID: s.known(s.mesh).ID, DERPRegion: 2,
	}}})
	s.reaches(t, s.ts, s.mesh)
	s.reaches(t, s.mesh, s.ts) // by the way its packets came, since it knows no relay at ts1's home
	s.sees(t, "ts1", "is reached through the second region", func(p meshnet.PeerStatus) bool { return p.Path.Relay == "r2" })

	// A home that is still there is kept.
	s.tell(t, s.mesh, regions(first, second))
	s.connected(t)
	equal(t, "the home of mesh1", s.known(s.mesh).HomeDERP, 2)
}

func TestDeltaJailedPeersStartNothing(t *testing.T) {
	s := newScripted(t)
	mesh, ts := theirNodePublic(s.mesh.key()), theirNodePublic(s.ts.key())
	s.control.SetJailed(mesh, ts, true)
	s.cutOff(t, s.ts, s.mesh)
	s.reaches(t, s.mesh, s.ts)
	s.control.SetJailed(mesh, ts, false)
	s.connected(t)
}

func TestDeltaCapabilitiesOfThePolicy(t *testing.T) {
	s := newScripted(t)
	s.control.SetGlobalAppCaps(tstailcfg.PeerCapMap{"example.com/cap/x": {`{"role":"admin"}`}})
	ip4, _ := s.ts.ips()
	eventually(t, "mesh1 learns what ts1 may", func(ctx context.Context) error {
		who, err := s.mesh.WhoIs(ctx, ip4.String())
		if err != nil {
			return err
		}
		values := who.Capabilities["example.com/cap/x"]
		if len(values) != 1 || string(values[0]) != `{"role":"admin"}` {
			return fmt.Errorf("it is %s", who.Capabilities)
		}
		return nil
	})
}
