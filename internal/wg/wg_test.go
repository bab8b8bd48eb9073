package wg

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// node is a device with its host.
type node struct {
	*Device
	key  key.NodePrivate
	addr netip.Addr
	tun  *tuntest.ChannelTUN
	bind *memBind
}

// A meshTUN has the MTU of a mesh.
type meshTUN struct{ tun.Device }

func (meshTUN) MTU() (int, error) { return 1280, nil }

func newNode(t *testing.T, n *memNet, addr string, logger *slog.Logger) *node {
	t.Helper()
	// wireguard-go empties the queues of a dead peer in a finalizer, and that
	// may not touch channels of a bubble. So there are no finalizers from here
	// on: these tests leave little garbage.
	debug.SetGCPercent(-1)
	k := key.NewNode()
	nd := &node{key: k, addr: netip.MustParseAddr(addr), tun: tuntest.NewChannelTUN(), bind: n.bind(k.Public(), nil)}
	var err error
	if nd.Device, err = New(meshTUN{nd.tun.TUN()}, nd.bind, logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nd.Close() })
	nd.must(t, nd.SetPrivateKey(k))
	return nd
}

func (n *node) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) peer() Peer {
	return Peer{Key: n.key.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(n.addr, n.addr.BitLen())}}
}

// arrives sends text from a to b and reports whether it came.
func arrives(a, b *node, text string) bool {
	a.tun.Outbound <- ipPacket(a.addr, b.addr, text)
	select {
	case p := <-b.tun.Inbound:
		return strings.HasSuffix(string(p), text)
	case <-time.After(time.Second):
		return false
	}
}

func wantArrives(t *testing.T, sentence string, a, b *node, want bool) {
	t.Helper()
	if got := arrives(a, b, sentence); got != want {
		t.Errorf("%s: arrived = %v, want %v", sentence, got, want)
	}
}

func join(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		var peers []Peer
		for _, p := range nodes {
			peers = append(peers, p.peer()) // with n itself, which SetPeers leaves out
		}
		n.must(t, n.SetPeers(peers))
	}
}

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		join(t, a, b)
		wantArrives(t, "first packet", a, b, true)
		wantArrives(t, "answer", b, a, true)
		for range 20 {
			time.Sleep(5 * time.Minute)
			wantArrives(t, "after a while", b, a, true)
			wantArrives(t, "and back", a, b, true)
		}
		stats, err := a.Stats()
		a.must(t, err)
		s := stats[b.key.Public()]
		if s.RxBytes == 0 || s.TxBytes == 0 || time.Since(s.LastHandshake) > time.Minute || len(stats) != 1 {
			t.Errorf("stats = %v, want one peer with traffic and a fresh handshake", stats)
		}
	})
}

func TestIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "fd7a:115c:a1e0::1", nil), newNode(t, n, "fd7a:115c:a1e0::2", nil)
		join(t, a, b)
		wantArrives(t, "IPv6", a, b, true)
	})
}

func TestSetPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b, c := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil), newNode(t, n, "100.64.0.3", nil)
		join(t, a, b, c)
		wantArrives(t, "a to b", a, b, true)
		before, _ := a.Stats()
		parses := a.bind.parses()

		join(t, a, b, c)
		if got := a.bind.parses(); got != parses {
			t.Errorf("the same peers again: %d endpoints parsed, want none", got-parses)
		}

		a.must(t, a.SetPeers([]Peer{b.peer()}))
		wantArrives(t, "to a removed peer", a, c, false)
		wantArrives(t, "to one that stayed", a, b, true)
		after, _ := a.Stats()
		if b := b.key.Public(); !after[b].LastHandshake.Equal(before[b].LastHandshake) {
			t.Error("the session with a peer that stayed did not survive")
		}

		a.must(t, a.SetPeers([]Peer{{Key: b.key.Public()}}))
		wantArrives(t, "to an address no longer allowed", a, b, false)
		wantArrives(t, "from an address no longer allowed", b, a, false)

		join(t, a, b, c)
		wantArrives(t, "all are back", a, c, true)
		wantArrives(t, "all are back", a, b, true)
	})
}

func TestSharedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b, c := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil), newNode(t, n, "100.64.0.2", nil)
		join(t, a, b)
		c.must(t, c.SetPeers([]Peer{a.peer()}))

		a.must(t, a.SetPeers([]Peer{b.peer(), c.peer()}))
		wantArrives(t, "the first has it", a, b, true)
		a.must(t, a.SetPeers([]Peer{c.peer(), b.peer()}))
		wantArrives(t, "it moved", a, c, true)
		a.must(t, a.SetPeers([]Peer{b.peer()}))
		wantArrives(t, "the one that is left has it", a, b, true)
	})
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		join(t, a, b)
		wantArrives(t, "under the old key", a, b, true)

		a.key = key.NewNode()
		n.bind(a.key.Public(), a.bind)
		a.must(t, a.SetPrivateKey(a.key))
		b.must(t, b.SetPeers([]Peer{a.peer()}))
		wantArrives(t, "under the new key", a, b, true)
		wantArrives(t, "and back", b, a, true)

		// A hostile map may make us our own peer; upstream can hang on that.
		b.must(t, b.SetPrivateKey(a.key))
		stats, err := b.Stats()
		b.must(t, err)
		if len(stats) != 0 {
			t.Errorf("after taking a peer's key: %d peers, want none", len(stats))
		}
	})
}

// Whatever a coordinator says, WireGuard takes it.
// Sessions go on when a preshared key is set, and new ones need the same on both
// sides.
func TestPresharedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		a.must(t, a.SetPeers([]Peer{b.peer()}))
		b.must(t, b.SetPeers([]Peer{a.peer()}))
		wantArrives(t, "without a key", a, b, true)
		a.must(t, a.SetPresharedKey(b.key.Public(), psk.Key{1}))
		wantArrives(t, "in the same session", a, b, true)
		time.Sleep(4 * time.Minute)
		wantArrives(t, "with a key on one side", a, b, false)
		b.must(t, b.SetPresharedKey(a.key.Public(), psk.Key{1}))
		<-b.tun.Inbound // what waited for a session
		wantArrives(t, "with the same key", a, b, true)
		a.must(t, a.SetPresharedKey(key.NewNode().Public(), psk.Key{1}))
	})
}

func TestHostilePrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newNode(t, new(memNet), "100.64.0.1", nil)
		a.must(t, a.SetPeers([]Peer{
			{Key: testKey(1), AllowedIPs: prefixes("0.0.0.0/0 ::/0 ::ffff:1.2.3.4/128 ::ffff:0:0/96 255.255.255.255/32 ff02::1/128")},
			{Key: key.NodePublicFromRaw32([key.Size]byte{0: 1}), AllowedIPs: prefixes("10.0.0.1/32")}, // of low order
		}))
		a.tun.Outbound <- ipPacket(a.addr, netip.MustParseAddr("10.0.0.1"), "to a key of low order")
		a.tun.Outbound <- ipPacket(a.addr, netip.MustParseAddr("9.9.9.9"), "to whoever has everything")
		time.Sleep(time.Minute)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a := newNode(t, n, "100.64.0.1", nil)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { a.Close() })
		}
		wg.Wait()
		for name, err := range map[string]error{
			"SetPeers":      a.SetPeers([]Peer{{Key: testKey(1)}}),
			"SetPrivateKey": a.SetPrivateKey(key.NewNode()),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
			}
		}
		if _, ok := <-a.tun.TUN().Events(); ok {
			t.Error("the tun device was not closed")
		}
	})
}

func TestLogShowsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", logger), newNode(t, n, "100.64.0.2", nil)
		join(t, a, b)
		wantArrives(t, "a packet", a, b, true)
		a.Close()
		b.Close()
		synctest.Wait()
		text := strings.ToLower(out.String())
		if !strings.Contains(text, "handshake") {
			t.Errorf("the log says nothing of the handshake:\n%s", text)
		}
		secret := strings.TrimPrefix(a.key.Secret(), "privkey:")
		for _, digits := range []string{secret, a.key.Public().Hex(), b.key.Public().Hex()} {
			if strings.Contains(text, digits) {
				t.Error("the log shows a key")
			}
		}
	})
}
