package wg

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// known are the peers that WireGuard knows.
func (n *node) known(t *testing.T) map[key.NodePublic]PeerStats {
	t.Helper()
	stats, err := n.awakeStats()
	n.must(t, err)
	return stats
}

func (n *node) wantKnown(t *testing.T, sentence string, peers ...*node) {
	t.Helper()
	known := n.known(t)
	for _, p := range peers {
		if _, ok := known[p.key.Public()]; !ok {
			t.Errorf("%s: WireGuard does not know %v", sentence, p.addr)
		}
	}
	if len(known) != len(peers) {
		t.Errorf("%s: WireGuard knows %d peers, want %d", sentence, len(known), len(peers))
	}
}

func TestPeersSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b, c := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil), newNode(t, n, "fd7a::3", nil)
		join(t, a, b, c)
		a.wantKnown(t, "at first")
		wantArrives(t, "a packet wakes who sends it and who gets it", a, b, true)
		a.wantKnown(t, "the sender", b)
		b.wantKnown(t, "the receiver", a)
		c.wantKnown(t, "another")
		before, err := a.Stats()
		a.must(t, err)

		for range 10 {
			time.Sleep(sleepAfter * 3 / 4)
			wantArrives(t, "who is in use stays", a, b, true)
			a.wantKnown(t, "in use", b)
		}
		time.Sleep(3 * sleepAfter)
		a.wantKnown(t, "after a while")
		b.wantKnown(t, "after a while")
		after, err := a.Stats()
		a.must(t, err)
		if was, is := before[b.key.Public()], after[b.key.Public()]; is.TxBytes <= was.TxBytes || is.LastHandshake.IsZero() {
			t.Errorf("what was counted is forgotten: %+v, then %+v", was, is)
		}
		wantArrives(t, "it wakes again", b, a, true)
		again, err := a.Stats()
		a.must(t, err)
		if is, was := again[b.key.Public()], after[b.key.Public()]; is.RxBytes <= was.RxBytes {
			t.Errorf("and is not counted on: %+v, then %+v", was, is)
		}
		join(t, a, b)
		a.wantKnown(t, "a new list with it", b)
		a.must(t, a.SetPeers(nil))
		a.wantKnown(t, "a list without")
	})
}

// An exit node may send from everywhere, but not from where a peer is, whether
// that is awake or not.
func TestNobodySendsForWhoSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b, exit := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil), newNode(t, n, "100.64.0.3", nil)
		wide := exit.peer()
		wide.AllowedIPs = append(wide.AllowedIPs, prefixes("0.0.0.0/0")...)
		a.must(t, a.SetPeers([]Peer{b.peer(), wide}))
		b.must(t, b.SetPeers([]Peer{a.peer()}))
		exit.must(t, exit.SetPeers([]Peer{a.peer()}))

		from := func(addr string) bool {
			exit.tun.Outbound <- ipPacket(netip.MustParseAddr(addr), a.addr, addr)
			select {
			case p := <-a.tun.Inbound:
				return strings.HasSuffix(string(p), addr)
			case <-time.After(time.Second):
				return false
			}
		}
		want := func(sentence string) {
			t.Helper()
			if !from("9.9.9.9") {
				t.Errorf("%s: nothing comes from the world", sentence)
			}
			if from("100.64.0.2") {
				t.Errorf("%s: the exit node can send in a peer's name", sentence)
			}
		}
		want("the peer was never awake")
		wantArrives(t, "to the peer", a, b, true)
		want("it is awake")
		for range 6 {
			time.Sleep(sleepAfter / 2)
			want("while the exit node is in use")
		}
		if known := a.known(t); len(known) != 2 { // with nobody
			t.Errorf("WireGuard knows %d peers, want the exit node and nobody", len(known))
		}
		wantArrives(t, "to the peer, not to the exit node", a, b, true)
		a.must(t, a.SetPeers([]Peer{wide}))
		if !from("100.64.0.2") {
			t.Error("the peer is gone, and its address is still nobody's")
		}
	})
}

func TestPresharedKeyIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		join(t, a, b)
		a.must(t, a.SetPresharedKey(b.key.Public(), psk.Key{1}))
		wantArrives(t, "a key on one side, set while the peer was asleep", a, b, false)
		b.must(t, b.SetPresharedKey(a.key.Public(), psk.Key{1}))
		<-b.tun.Inbound // what waited for a session
		time.Sleep(3 * sleepAfter)
		a.wantKnown(t, "asleep")
		wantArrives(t, "with the key of before", a, b, true)
	})
}

func TestPeerWithPresharedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		for _, pair := range [][2]*node{{a, b}, {b, a}} {
			other := pair[1].peer()
			other.Preshared = psk.Key{1}
			pair[0].must(t, pair[0].SetPeers([]Peer{other}))
		}
		wantArrives(t, "from the first handshake on", a, b, true)
		b.must(t, b.SetPresharedKey(a.key.Public(), psk.Key{2}))
		b.must(t, b.SetPeers([]Peer{a.peer()})) // which is not new
		a.must(t, a.SetPresharedKey(b.key.Public(), psk.Key{2}))
		time.Sleep(3 * sleepAfter)
		wantArrives(t, "with one that was set later", a, b, true)
	})
}

func TestTable(t *testing.T) {
	a, b, c := testKey(1), testKey(2), testKey(3)
	peers := make(map[key.NodePublic]*peer)
	for k, list := range map[key.NodePublic]string{
		a: "100.64.0.1/32 fd7a::1/128",
		b: "100.64.0.2/32 0.0.0.0/0 10.0.0.0/8 10.1.2.0/24",
		c: "10.1.0.0/16 ::ffff:1.2.3.4/128",
	} {
		peers[k] = &peer{key: k, settings: with(list)}
	}
	table := newTable(peers)
	for addr, want := range map[string]key.NodePublic{
		"100.64.0.1": a, "fd7a::1": a, "fd7a::2": {}, "100.64.0.2": b, "100.64.0.3": b,
		"10.2.0.1": b, "10.1.0.1": c, "10.1.2.1": b, "::ffff:1.2.3.4": c, "1.2.3.4": b,
	} {
		var got key.NodePublic
		ip := netip.MustParseAddr(addr)
		if p := table.owner(ip, ip.BitLen()); p != nil {
			got = p.key
		}
		if got != want {
			t.Errorf("%s is %v's, want %v", addr, got.Short(), want.Short())
		}
	}
	nested := table.nested()
	for _, prefix := range prefixes("100.64.0.1/32 10.1.0.0/16 10.1.2.0/24") {
		if nested[prefix] == nil {
			t.Errorf("%v lies in nobody else's", prefix)
		}
		delete(nested, prefix)
	}
	if len(nested) > 0 {
		t.Errorf("and these do: %v", nested)
	}
}

// TestManyPeers bounds what peers cost with whom nothing is exchanged.
func TestManyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a := newNode(t, n, "100.64.0.1", nil)
		var peers []Peer
		for i := range 10000 {
			raw := [key.Size]byte{byte(i), byte(i >> 8), 31: 1}
			addr := netip.AddrFrom4([4]byte{100, 65, byte(i >> 8), byte(i)})
			peers = append(peers, Peer{Key: key.NodePublicFromRaw32(raw), AllowedIPs: []netip.Prefix{netip.PrefixFrom(addr, 32)}})
		}
		a.must(t, a.SetPeers(peers))
		a.wantKnown(t, "10,000 peers")
	})
}
