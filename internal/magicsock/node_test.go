package magicsock

import (
	"bytes"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

// node is a Conn under WireGuard, with its host.
type node struct {
	*Conn
	key   key.NodePrivate
	disco key.DiscoPrivate
	addr  netip.Addr
	tun   *tuntest.ChannelTUN
	wg    *wg.Device
}

func (n *node) config() Config {
	return Config{Node: n.key, Disco: n.disco, Logger: slog.New(slog.DiscardHandler)}
}

// newNode makes a node; conn makes its Conn.
func newNode(t *testing.T, addr string, conn func(Config) *Conn) *node {
	t.Helper()
	return newNodeOf(t, key.NewNode(), key.NewDisco(), addr, conn)
}

func newNodeOf(t *testing.T, k key.NodePrivate, disco key.DiscoPrivate, addr string, conn func(Config) *Conn) *node {
	t.Helper()
	// wireguard-go empties the queues of a dead peer in a finalizer, and that
	// may not touch channels of a bubble. So there are no finalizers from here
	// on: these tests leave little garbage.
	debug.SetGCPercent(-1)
	n := &node{key: k, disco: disco, addr: netip.MustParseAddr(addr), tun: tuntest.NewChannelTUN()}
	n.Conn = conn(n.config())
	t.Cleanup(func() { n.Conn.Close() })
	var err error
	if n.wg, err = wg.New(n.tun.TUN(), n.Bind(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.wg.Close() })
	n.must(t, n.wg.SetPrivateKey(n.key))
	return n
}

// memNode makes a node on relays in memory, of regions 1 and 2.
func (r *memRelays) memNode(t *testing.T, addr string) *node {
	t.Helper()
	n := newNode(t, addr, func(cfg Config) *Conn { return newConn(cfg, r.pool(cfg.Node.Public())) })
	n.SetDERPMap(testMap(1, 2))
	n.waitForHome()
	return n
}

// waitForHome waits until the node can be reached, and leaves word of that.
func (n *node) waitForHome() {
	for n.Local().HomeDERP == 0 {
		<-n.Changed()
	}
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *node) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is the node as the coordinator has it, with its home region.
func (n *node) peer(home int) Peer {
	p := Peer{Key: n.key.Public(), Disco: n.disco.Public(), HomeDERP: home}
	for _, e := range n.Local().Endpoints {
		p.Endpoints = append(p.Endpoints, e.Addr)
	}
	return p
}

// know makes n know peers with the homes they say.
func (n *node) know(t *testing.T, peers map[*node]int) {
	t.Helper()
	var ours []Peer
	var wgs []wg.Peer
	for p, home := range peers {
		ours = append(ours, p.peer(home))
		wgs = append(wgs, wgPeers(p)...)
	}
	n.SetPeers(ours)
	n.must(t, n.wg.SetPeers(wgs))
	n.PeersReady()
}

// wgPeers are nodes as WireGuard has them.
func wgPeers(nodes ...*node) (peers []wg.Peer) {
	for _, n := range nodes {
		peers = append(peers, wg.Peer{Key: n.key.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(n.addr, 32)}})
	}
	return peers
}

// testMap has regions of one relay each.
func testMap(regions ...int) *derpmap.Map {
	m := &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
	for _, id := range regions {
		m.Regions[id] = &derpmap.Region{RegionID: id, Nodes: []*derpmap.Node{{
			Name: "n", RegionID: id, HostName: "relay.test", IPv4: stunServer(id).Addr().String(), IPv6: "none",
		}}}
	}
	return m
}

// stunServer is where a region of testMap has one.
func stunServer(region int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(region)}), 3478)
}

// ping is a packet of a to b.
func ping(a, b *node) []byte { return tuntest.Ping(b.addr, a.addr) }

func wantArrives(t *testing.T, sentence string, a, b *node, want bool) {
	t.Helper()
	packet := ping(a, b)
	a.tun.Outbound <- packet
	select {
	case got := <-b.tun.Inbound:
		if !want || !bytes.Equal(got, packet) {
			t.Errorf("%s: arrived %x, want %x: %v", sentence, got, packet, want)
		}
	case <-time.After(time.Second):
		if want {
			t.Errorf("%s: did not arrive", sentence)
		}
	}
}

// wantRelay checks the region through which a sends to b.
func wantRelay(t *testing.T, sentence string, a, b *node, want int) {
	t.Helper()
	if info, ok := a.PeerInfo(b.key.Public()); !ok || info.Relay != want {
		t.Errorf("%s: through region %d (%v), want %d", sentence, info.Relay, ok, want)
	}
}
