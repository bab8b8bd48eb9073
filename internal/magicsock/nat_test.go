package magicsock

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/simnet"
	"github.com/meshnet-go/meshnet/key"
)

// A lab is an internet in memory, with a STUN server in each of two regions.
// The relays are beside it.
type lab struct {
	*simnet.Network
	relays   memRelays
	derpMap  *derpmap.Map
	networks byte          // that are not behind NATs
	config   func(*Config) // changes that of nodes, if not nil
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabOf(t, 1)
}

func newLabOf(t *testing.T, seed uint64) *lab {
	t.Helper()
	l := &lab{Network: simnet.New(seed), derpMap: &derpmap.Map{Regions: make(map[int]*derpmap.Region)}}
	t.Cleanup(func() { l.Close() })
	for region := 1; region <= 2; region++ {
		server := l.Host()
		server.Link().Set(simnet.Quality{Latency: time.Duration(region) * 10 * time.Millisecond})
		l.derpMap.Regions[region] = &derpmap.Region{RegionID: region, Nodes: []*derpmap.Node{{
			Name: "n", RegionID: region, HostName: "relay.test", IPv4: server.Addrs()[0].String(), IPv6: server.Addrs()[1].String(),
		}}}
		serveSTUN(t, server)
	}
	return l
}

func serveSTUN(t *testing.T, server *simnet.Host) {
	t.Helper()
	pc, err := server.ListenPacket(t.Context(), "udp", ":3478")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- derp.ServeSTUN(ctx, pc) }()
	t.Cleanup(func() {
		cancel()
		pc.Close()
		<-done
	})
}

// behind puts a host behind a router of its own, or on the open internet when
// router is nil.
func (l *lab) behind(router *simnet.RouterConfig) *simnet.Host {
	host := l.Internet()
	if router != nil {
		config := *router
		if config.NAT == nil || len(config.Inside) > 0 { // then its networks are known to all
			l.networks++
			config.Inside = l.inside(config)
		}
		host = host.Router(config)
	}
	h := host.Host()
	h.Link().Set(simnet.Quality{Latency: 5 * time.Millisecond})
	return h
}

// inside returns the networks of a router that are its own: in the place of each
// that the configuration has, or one of IPv4.
func (l *lab) inside(config simnet.RouterConfig) []netip.Prefix {
	if len(config.Inside) == 0 {
		return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, l.networks, 1}), 24)}
	}
	inside := slices.Clone(config.Inside)
	for i, prefix := range inside {
		if prefix == someIPv6 {
			inside[i] = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, l.networks, 15: 1}), 64)
		}
	}
	return inside
}

// someIPv6 stands for a network of IPv6 that no other router has.
var someIPv6 = netip.MustParsePrefix("2001:db8:ffff::/64")

func (l *lab) node(t *testing.T, addr string, host *simnet.Host) *node {
	t.Helper()
	return l.nodeOf(t, key.NewNode(), key.NewDisco(), addr, host)
}

// nodeOf makes a node with keys that there may have been before.
func (l *lab) nodeOf(t *testing.T, k key.NodePrivate, disco key.DiscoPrivate, addr string, host *simnet.Host) *node {
	t.Helper()
	n := newNodeOf(t, k, disco, addr, func(cfg Config) *Conn {
		cfg.ListenPacket = host.ListenPacket
		if l.config != nil {
			l.config(&cfg)
		}
		return newConn(cfg, l.relays.pool(cfg.Node.Public()))
	})
	n.SetDERPMap(l.derpMap)
	n.SetHost(Host{Addrs: host.Addrs()})
	return n
}

// The places of nodes on the internet.
func places() map[string]*simnet.RouterConfig {
	nat := func(mapping, filtering simnet.Dependence) *simnet.RouterConfig {
		return &simnet.RouterConfig{NAT: &simnet.NAT{Mapping: mapping, Filtering: filtering, Ports: simnet.RandomPorts}}
	}
	const (
		none    = simnet.EndpointIndependent
		address = simnet.AddressDependent
		port    = simnet.AddressAndPortDependent
	)
	return map[string]*simnet.RouterConfig{
		"open":       nil,
		"firewalled": {Firewall: true},
		"full cone":  nat(none, none),
		"restricted": nat(none, address),
		"easy":       nat(none, port),
		"hard":       nat(port, port),
		"no UDP":     {BlockUDP: true, NAT: simnet.EasyNAT()},
		"IPv6":       {Firewall: true, Inside: []netip.Prefix{someIPv6}},
		"dual": {NAT: simnet.EasyNAT(), Firewall: true,
			Inside: []netip.Prefix{netip.MustParsePrefix("192.168.1.1/24"), someIPv6}},
	}
}

// directIn returns how soon a pair has a direct path at the latest, or 0 when it
// never has one. The port of a hard NAT is known to nobody: who lets in only
// what comes from a port it has sent to has to guess it.
func directIn(a, b string) time.Duration {
	guesses := func(place string) bool { return place == "easy" || place == "dual" || place == "firewalled" }
	ipv6 := func(place string) bool { return place == "IPv6" || place == "dual" || place == "open" }
	switch {
	case ipv6(a) && ipv6(b):
		return 200 * time.Millisecond
	case a == "IPv6", b == "IPv6":
		return 0
	case a == "no UDP", b == "no UDP", a == "hard" && b == "hard":
		return 0
	case a == "hard" && guesses(b), b == "hard" && guesses(a):
		return 20 * time.Second
	}
	return 200 * time.Millisecond
}

func TestNATs(t *testing.T) {
	all := places()
	for nameA, routerA := range all {
		for nameB, routerB := range all {
			t.Run(nameA+" to "+nameB, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testPair(t, routerA, routerB, directIn(nameA, nameB)) })
			})
		}
	}
}

// testPair has a send to b, twenty times a second, until both have found a
// direct path, or for half a minute.
func testPair(t *testing.T, routerA, routerB *simnet.RouterConfig, within time.Duration) {
	l := newLab(t)
	a, b := l.node(t, "100.64.0.1", l.behind(routerA)), l.node(t, "100.64.0.2", l.behind(routerB))
	time.Sleep(5 * time.Second) // homes and public addresses are found, or not
	a.know(t, map[*node]int{b: b.Local().HomeDERP})
	b.know(t, map[*node]int{a: a.Local().HomeDERP})
	begin := time.Now()
	var found time.Duration
	for time.Since(begin) < 30*time.Second && found == 0 {
		wantArrives(t, "a packet", a, b, true)
		time.Sleep(50 * time.Millisecond)
		if isDirect(a, b) && isDirect(b, a) {
			found = time.Since(begin)
		}
	}
	switch {
	case within == 0 && found != 0:
		t.Errorf("a direct path was found, after %v", found)
	case within != 0 && found == 0:
		ab, _ := a.PeerInfo(b.key.Public())
		ba, _ := b.PeerInfo(a.key.Public())
		t.Errorf("no direct path was found: %+v and %+v; a is at %v, b at %v", ab, ba, a.Local().Endpoints, b.Local().Endpoints)
	case found > within:
		t.Errorf("the direct path was found after %v", found)
	}
}
