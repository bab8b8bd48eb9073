package magicsock

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// A presharer is a node that wants preshared keys.
type presharer struct {
	*node
	mu   sync.Mutex
	keys []psk.Key // that WireGuard got
}

func (r *memRelays) presharer(t *testing.T, addr string) *presharer {
	t.Helper()
	n := new(presharer)
	n.node = newNode(t, addr, func(cfg Config) *Conn {
		cfg.PresharedKey = n.preshare
		return newConn(cfg, r.pool(cfg.Node.Public()))
	})
	n.SetDERPMap(testMap(1, 2))
	n.waitForHome()
	return n
}

func (n *presharer) preshare(peer key.NodePublic, k psk.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, k)
	if err := n.wg.SetPresharedKey(peer, k); err != nil && !errors.Is(err, net.ErrClosed) { // the test may be at its end
		panic(err)
	}
}

func (n *presharer) last() (k psk.Key, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.keys) > 0 {
		k = n.keys[len(n.keys)-1]
	}
	return k, len(n.keys)
}

func (n *node) wantPreshared(t *testing.T, with *node, want bool) {
	t.Helper()
	if info, _ := n.PeerInfo(with.key.Public()); info.PresharedKey != want {
		t.Errorf("%v has a preshared key with %v: %v, want %v", n.addr, with.addr, info.PresharedKey, want)
	}
}

func TestPresharedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.presharer(t, "100.64.0.1"), r.presharer(t, "100.64.0.2")
		a.know(t, map[*node]int{b.node: 1})
		b.know(t, map[*node]int{a.node: 1})
		begin := time.Now()
		wantArrives(t, "the first packet", a.node, b.node, true)
		if wait := time.Since(begin); wait > 0 {
			t.Errorf("the first packet takes %v", wait)
		}
		a.wantPreshared(t, b.node, true)
		b.wantPreshared(t, a.node, true)
		seen := make(map[psk.Key]bool)
		for range 30 {
			synctest.Wait()
			ka, n := a.last()
			kb, _ := b.last()
			if ka != kb || n == 0 {
				t.Fatalf("after %v: the nodes have not agreed: %x (%d), %x", time.Since(begin), ka[:], n, kb[:])
			}
			seen[ka] = true
			for range 13 {
				time.Sleep(10 * time.Second)
				wantArrives(t, "there", a.node, b.node, true)
				wantArrives(t, "and back", b.node, a.node, true)
			}
		}
		if len(seen) != 30 {
			t.Errorf("in 65 minutes there were %d keys, want 30", len(seen))
		}
	})
}

// The first packets of both cross, and still none waits for another handshake.
func TestPresharedKeysThatCross(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			r := new(memRelays)
			a, b := r.presharer(t, "100.64.0.1"), r.presharer(t, "100.64.0.2")
			a.know(t, map[*node]int{b.node: 1})
			b.know(t, map[*node]int{a.node: 1})
			a.tun.Outbound <- ping(a.node, b.node)
			b.tun.Outbound <- ping(b.node, a.node)
			late := time.After(crossingTime - 1)
			for _, n := range []*presharer{a, b} {
				select {
				case <-n.tun.Inbound:
				case <-late:
					t.Fatal("a packet waits for a second handshake")
				}
			}
			a.wantPreshared(t, b.node, true)
		})
	}
}

// A node that wants no keys says so. One that knows nothing of them says nothing.
func TestPresharedKeysWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.presharer(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a.node: 1})
		begin := time.Now()
		wantArrives(t, "to one who declines", a.node, b, true)
		wantArrives(t, "and back", b, a.node, true)
		if wait := time.Since(begin); wait > 0 {
			t.Errorf("the first packets take %v", wait)
		}
		a.wantPreshared(t, b, false)
		b.wantPreshared(t, a.node, false)
		if _, n := a.last(); n != 1 { // the zero key
			t.Errorf("WireGuard was told %d keys, want 1", n)
		}

		c := r.memNode(t, "100.64.0.3")
		silent := c.peer(1)
		silent.Disco = key.NewDisco().Public() // what a is told, so that c cannot answer
		a.SetPeers([]Peer{silent})
		a.must(t, a.wg.SetPeers(wgPeers(c)))
		a.PeersReady()
		c.know(t, map[*node]int{a.node: 1})
		begin = time.Now()
		a.tun.Outbound <- ping(a.node, c)
		<-c.tun.Inbound
		if wait := time.Since(begin); wait != time.Second {
			t.Errorf("the first packet to one who does not answer takes %v, want 1s", wait)
		}
	})
}

// When a peer has restarted its key is another process's.
func TestPresharedKeysEndWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.presharer(t, "100.64.0.1"), r.presharer(t, "100.64.0.2")
		a.know(t, map[*node]int{b.node: 1})
		b.know(t, map[*node]int{a.node: 1})
		wantArrives(t, "the first packet", a.node, b.node, true)
		restarted := b.peer(1)
		restarted.Disco = key.NewDisco().Public()
		a.SetPeers([]Peer{restarted})
		if k, _ := a.last(); !k.IsZero() {
			t.Error("the key of the process that has gone stays")
		}
		a.wantPreshared(t, b.node, false)
	})
}

// Offers that nobody asked for cost a node that wants no keys little.
func TestDecliningIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		out := b.relays.(*memPool).out
		a.do(func() {
			for range 50 {
				a.handleOffer((*a.peers.Load())[b.key.Public()], disco.KeyOffer{})
			}
		})
		if n := len(out); n > 1 {
			t.Errorf("%d offers are declined at once, want 1", n)
		}
	})
}
