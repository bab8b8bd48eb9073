package magicsock

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/key"
)

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "first packet", a, b, true)
		for range 30 {
			time.Sleep(10 * time.Minute)
			wantArrives(t, "after a while", b, a, true)
			wantArrives(t, "and back", a, b, true)
		}
	})
}

func TestUnknownHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		b.SetDERPMap(testMap(2)) // its home
		a.know(t, map[*node]int{b: 0})
		b.know(t, map[*node]int{a: 0})
		wantArrives(t, "a looks where it is itself, and b is not there", a, b, false)
		b.SetDERPMap(testMap(1, 2))
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "b knows where a is", b, a, true)
		wantRelay(t, "a answers the way it was asked", a, b, 1)
	})
}

func TestLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a := r.memNode(t, "100.64.0.1")
		wantLocal := func(sentence string, want Local) {
			t.Helper()
			synctest.Wait()
			select {
			case <-a.Changed():
			default:
				t.Errorf("%s: no change was signalled", sentence)
			}
			if got := a.Local(); got.HomeDERP != want.HomeDERP || got.Connected != want.Connected {
				t.Errorf("%s: %+v, want %+v", sentence, got, want)
			}
		}
		wantLocal("the lowest region is home", Local{HomeDERP: 1, Connected: true})
		r.set(1, false)
		wantLocal("it fails", Local{HomeDERP: 1})
		time.Sleep(10 * time.Second)
		wantLocal("the other becomes home", Local{HomeDERP: 2, Connected: true})
		r.set(1, true)
		time.Sleep(time.Hour)
		a.SetDERPMap(testMap(1))
		wantLocal("a region is withdrawn", Local{HomeDERP: 1, Connected: true})
		a.SetDERPMap(nil)
		wantLocal("all are", Local{})
	})
}

// b is at home in region 2, and a sends to it there; b answers there too, and
// spares a connection to a's home, until a has gone from region 2.
func TestReturnPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		b.SetDERPMap(testMap(2))
		b.SetDERPMap(testMap(1, 2)) // home stays 2
		a.know(t, map[*node]int{b: 2})
		b.know(t, map[*node]int{a: 1})
		wantRelay(t, "to the home of the peer", b, a, 1)

		// WireGuard may answer the first packet before the loop has heard of
		// it, by a's home, which then is connected; so a says something that
		// WireGuard does not answer.
		a.relays.Send(2, b.key.Public(), []byte("hello"))
		synctest.Wait()
		wantArrives(t, "to b", a, b, true)
		wantArrives(t, "to a", b, a, true)
		wantRelay(t, "to b's home", a, b, 2)
		wantRelay(t, "the way it came", b, a, 2)

		time.Sleep(55 * time.Second)
		wantRelay(t, "a may have gone", b, a, 1)
		time.Sleep(10 * time.Minute)
		a.know(t, map[*node]int{b: b.Local().HomeDERP}) // b has found a nearer one
		wantArrives(t, "to a, where it lives", b, a, true)
	})
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "under the old key", a, b, true)
		a.key = key.NewNode()
		a.SetNodeKey(a.key)
		a.must(t, a.wg.SetPrivateKey(a.key))
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "under the new key", b, a, true)
		wantArrives(t, "and back", a, b, true)
	})
}

func TestRelayRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "before", a, b, true)
		r.set(1, false)
		wantArrives(t, "while it is down", a, b, false)
		r.set(1, true)
		wantArrives(t, "after", a, b, true)
	})
}

func TestBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		k := key.NewNode().Public()
		c := newConn((&node{}).config(), r.pool(k))
		peer := key.NewNode().Public()
		c.SetPeers([]Peer{{Key: peer}, {}})
		b := c.Bind()

		ep, err := b.ParseEndpoint(peer.Hex())
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := b.ParseEndpoint(peer.Hex()); again != ep {
			t.Error("a peer has two endpoints")
		}
		for _, digits := range []string{"", "nonsense", k.Hex(), key.NodePublic{}.Hex(), "100.64.0.1:41641"} {
			if _, err := b.ParseEndpoint(digits); err == nil {
				t.Errorf("ParseEndpoint(%q) finds a peer", digits)
			}
		}
		if err := b.Send([][]byte{{1}}, ep); err != nil {
			t.Errorf("sending without a relay: %v", err)
		}
		if err := b.Send([][]byte{{1}}, nil); !errors.Is(err, conn.ErrWrongEndpointType) {
			t.Errorf("sending to no endpoint: %v", err)
		}

		for range 3 {
			fns, _, err := b.Open(1)
			if err != nil || len(fns) != 1 {
				t.Fatalf("Open: %d functions, %v", len(fns), err)
			}
			if _, _, err := b.Open(1); !errors.Is(err, conn.ErrBindAlreadyOpen) {
				t.Errorf("Open of an open bind: %v", err)
			}
			got := make(chan error)
			go func() { _, err := fns[0](make([][]byte, 1), make([]int, 1), make([]conn.Endpoint, 1)); got <- err }()
			synctest.Wait()
			b.Close()
			if err := <-got; !errors.Is(err, net.ErrClosed) {
				t.Errorf("receiving from a closed bind: %v", err)
			}
			b.Close()
		}

		fns, _, _ := b.Open(1)
		got := make(chan error)
		go func() { _, err := fns[0](make([][]byte, 1), make([]int, 1), make([]conn.Endpoint, 1)); got <- err }()
		c.Close()
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("receiving from a closed Conn: %v", err)
		}
		b.Close()
		if _, _, err := b.Open(1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Open after Close: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	for _, order := range []string{"wg first", "conn first", "together"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(memRelays)
				a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
				a.know(t, map[*node]int{b: 1})
				b.know(t, map[*node]int{a: 1})
				wantArrives(t, "a packet", a, b, true)
				switch order {
				case "wg first":
					a.wg.Close()
					a.Close()
				case "conn first":
					a.Close()
					a.wg.Close()
				case "together":
					var wg sync.WaitGroup
					for range 2 {
						wg.Go(func() { a.Close() })
						wg.Go(func() { a.wg.Close() })
						wg.Go(func() { a.SetPeers(nil) })
						wg.Go(func() { a.SetDERPMap(testMap(3)) })
					}
					wg.Wait()
				}
				a.SetPeers([]Peer{b.peer(1)})
				a.SetDERPMap(nil)
				a.SetNodeKey(key.NewNode())
				a.Close()
			})
		})
	}
}

// The send path takes no lock and makes nothing.
func TestSendAllocates(t *testing.T) {
	c := newConn((&node{}).config(), nullRelays{new(memRelays).pool(key.NodePublic{})})
	defer c.Close()
	k := key.NewNode().Public()
	c.SetDERPMap(testMap(1))
	c.SetPeers([]Peer{{Key: k, HomeDERP: 1}})
	b := c.Bind()
	ep, err := b.ParseEndpoint(k.Hex())
	if err != nil {
		t.Fatal(err)
	}
	packets := [][]byte{make([]byte, 1280), make([]byte, 1280)}
	if n := testing.AllocsPerRun(100, func() { b.Send(packets, ep) }); n != 0 {
		t.Errorf("Send allocates %v times, want never", n)
	}
}

// nullRelays loses what is sent.
type nullRelays struct{ *memPool }

func (nullRelays) Send(int, key.NodePublic, []byte) error { return nil }
