package magicsock

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/key"
)

// A lan is two nodes on one wire, which have a relay as well.
type lan struct {
	wire
	relays memRelays
	a, b   *node
}

var (
	hostA = netip.MustParseAddr("192.0.2.1")
	hostB = netip.MustParseAddr("192.0.2.2")
)

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := new(lan)
	l.a, l.b = l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
	l.a.know(t, map[*node]int{l.b: 1})
	l.b.know(t, map[*node]int{l.a: 1})
	return l
}

func (l *lan) node(t *testing.T, addr string, host netip.Addr) *node {
	t.Helper()
	n := newNode(t, addr, func(cfg Config) *Conn {
		cfg.ListenPacket = l.listener(host)
		return newConn(cfg, l.relays.pool(cfg.Node.Public()))
	})
	n.SetDERPMap(testMap(1, 2))
	n.SetHost(Host{Addrs: []netip.Addr{host}})
	n.waitForHome()
	return n
}

// wantPath checks how a reaches b: the address on the wire, and whether the
// relay is used.
func wantPath(t *testing.T, sentence string, a, b *node, host netip.Addr, relay bool) {
	t.Helper()
	synctest.Wait()
	info, _ := a.PeerInfo(b.key.Public())
	if info.Direct.Addr() != host || (info.Relay != 0) != relay {
		t.Errorf("%s: %+v", sentence, info)
	}
}

func TestDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantPath(t, "nothing is known of peers that nobody talks to", l.a, l.b, netip.Addr{}, true)
		wantArrives(t, "the first packet goes through the relay", l.a, l.b, true)
		wantPath(t, "then they have found each other", l.a, l.b, hostB, false)
		wantPath(t, "both", l.b, l.a, hostA, false)
		l.relays.set(1, false)
		for range 100 {
			time.Sleep(10 * time.Second)
			wantArrives(t, "without a relay", l.b, l.a, true)
			wantArrives(t, "and back", l.a, l.b, true)
		}
	})
}

// An hour in which nothing is sent costs nothing on the underlay.
func TestIdleIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantArrives(t, "a packet", l.a, l.b, true)
		time.Sleep(5 * time.Minute) // the session ends, and WireGuard's timers
		before := l.count()
		time.Sleep(time.Hour)
		if sent := l.count() - before; sent != 0 {
			t.Errorf("%d datagrams were sent in an idle hour", sent)
		}
		wantPath(t, "the path is not trusted any more", l.a, l.b, hostB, true)
		wantArrives(t, "a packet wakes both", l.b, l.a, true)
		wantPath(t, "and they find each other again", l.b, l.a, hostA, false)
	})
}

// A path that is cut is left within seven seconds, and taken again when it
// heals.
func TestCutAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantArrives(t, "a packet", l.a, l.b, true)
		wantPath(t, "direct", l.a, l.b, hostB, false)
		l.cut(hostB, true)
		begin := time.Now()
		for !arrives(l.a, l.b) {
			if time.Since(begin) > 7*time.Second {
				t.Fatal("nothing arrives seven seconds after the cut")
			}
		}
		for range 20 {
			time.Sleep(time.Second)
			wantArrives(t, "while the wire is cut", l.a, l.b, true)
			wantArrives(t, "and back", l.b, l.a, true)
		}
		wantPath(t, "the relay has all of it", l.a, l.b, netip.Addr{}, true)
		l.cut(hostB, false)
		for range 7 {
			time.Sleep(time.Second)
			wantArrives(t, "while they find each other", l.a, l.b, true)
		}
		wantPath(t, "direct again", l.a, l.b, hostB, false)
	})
}

// arrives tries once.
func arrives(a, b *node) bool {
	a.tun.Outbound <- ping(a, b)
	select {
	case <-b.tun.Inbound:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// What comes from an address that is nobody's goes to WireGuard, which knows
// what is its own, but for initiations: those anybody can make.
func TestStrangersOnTheUnderlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		c := l.a.Conn
		from := netip.MustParseAddrPort("203.0.113.9:1")
		initiation := make([]byte, initiationSize)
		initiation[0] = typeInitiation
		stranger := key.NewDisco()
		shared := stranger.Shared(l.a.disco.Public())
		for _, test := range []struct {
			name   string
			packet []byte
			want   conn.Endpoint
		}{
			{"a data packet", []byte{4, 0, 0, 0}, unknownAddr},
			{"an initiation", initiation, nil},
			{"nothing", []byte{}, nil},
			{"disco of a stranger", disco.Seal(nil, stranger.Public(), &shared, disco.Ping{}), nil},
		} {
			if got := c.sortOne(test.packet, from, nil); got != test.want {
				t.Errorf("%s is given to %v", test.name, got)
			}
		}
		if len(c.inbox.messages) != 0 {
			t.Error("the loop is bothered with disco of a stranger")
		}
		wantArrives(t, "a packet", l.a, l.b, true)
		synctest.Wait()
		info, _ := l.a.PeerInfo(l.b.key.Public())
		if p, ok := c.sortOne(initiation, info.Direct, nil).(*peer); !ok || p.key != l.b.key.Public() {
			t.Error("the initiation of a peer, from where it was found, does not reach WireGuard")
		}
	})
}

// A peer that is gone is nobody on the underlay, too.
func TestPeerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantArrives(t, "a packet", l.a, l.b, true)
		synctest.Wait()
		info, _ := l.a.PeerInfo(l.b.key.Public())
		l.a.know(t, nil)
		if got := l.a.sortOne([]byte{4, 0, 0, 0}, info.Direct, nil); got != unknownAddr {
			t.Errorf("a packet from a peer that is gone is given to %v", got)
		}
		if len(l.a.schedule.byTime) != 0 {
			t.Error("the loop still looks after a peer that is gone")
		}
	})
}

// A peer that comes back with another disco key and address is found there.
func TestPeerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantArrives(t, "a packet", l.a, l.b, true)
		wantPath(t, "direct", l.a, l.b, hostB, false)
		l.cut(hostB, true)
		l.b.Close()
		moved := netip.MustParseAddr("192.0.2.77")
		b := l.node(t, "100.64.0.2", moved)
		b.know(t, map[*node]int{l.a: 1})
		l.a.know(t, map[*node]int{b: 1})
		wantArrives(t, "to the new one", l.a, b, true)
		wantPath(t, "direct", l.a, b, moved, false)
	})
}

func TestDirectSendAllocates(t *testing.T) {
	var w wire
	cfg := (&node{}).config()
	cfg.ListenPacket = w.listener(hostA)
	c := newConn(cfg, nullRelays{new(memRelays).pool(key.NodePublic{})})
	defer c.Close()
	k := key.NewNode().Public()
	c.SetPeers([]Peer{{Key: k, HomeDERP: 1}})
	p := (*c.peers.Load())[k]
	p.route.Store(&route{direct: netip.AddrPortFrom(hostB, 1), mtu: 1500, wake: 1500})
	packets := [][]byte{make([]byte, 1280), make([]byte, 1280)}
	if n := testing.AllocsPerRun(100, func() { c.send(p, packets) }); n != 0 {
		t.Errorf("send allocates %v times, want never", n)
	}
}

// TestRotationOnADirectPath changes the key of a node that has a direct path to
// a peer, and sends at once: the peer would take nothing from an address of which
// it does not know yet that it is the new key's.
func TestRotationOnADirectPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantArrives(t, "under the old key", l.a, l.b, true)
		wantPath(t, "they have found each other", l.b, l.a, hostA, false)
		l.b.key = key.NewNode()
		l.b.SetNodeKey(l.b.key)
		l.b.must(t, l.b.wg.SetPrivateKey(l.b.key))
		l.a.know(t, map[*node]int{l.b: 1})
		wantArrives(t, "under the new key", l.b, l.a, true)
		wantPath(t, "they have found each other again", l.b, l.a, hostA, false)
	})
}
