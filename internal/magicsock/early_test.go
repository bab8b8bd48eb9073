package magicsock

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/key"
)

func TestEarlyIsBounded(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var now time.Time
	var e early
	keys := make([]key.NodePublic, maxEarly+1)
	for i := range keys {
		keys[i] = key.NewNode().Public()
	}
	hold := func(seconds int, sender, content int) {
		now = start.Add(time.Duration(seconds) * time.Second)
		e.hold(now, relay.Packet{Src: keys[sender], Data: []byte{byte(content)}})
	}
	wantTaken := func(sentence string, want []byte, senders ...int) {
		t.Helper()
		var got []byte
		for _, p := range e.take(now, func(k key.NodePublic) bool { return slices.Contains(senders, slices.Index(keys, k)) }) {
			got = append(got, p.Data...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: took %v, want %v", sentence, got, want)
		}
	}

	hold(0, 0, 10)
	hold(0, 1, 11)
	wantTaken("of a sender who is still not known", nil, 2)
	wantTaken("of one who is", []byte{10}, 0)
	wantTaken("a second time", nil, 0)

	hold(1, 1, 21)
	wantTaken("the newest of a sender", []byte{21}, 1)

	hold(2, 0, 30)
	hold(6, 1, 31)
	hold(7, 2, 32)
	wantTaken("what is too old is gone", []byte{31, 32}, 0, 1, 2)

	hold(8, 0, 40)
	now = now.Add(earlyTime)
	wantTaken("also when nothing came since", nil, 0)

	for i := range keys {
		hold(20, i, i)
	}
	if len(e) != maxEarly {
		t.Errorf("%d packets are held, want %d", len(e), maxEarly)
	}
	wantTaken("the oldest made room", []byte{1, maxEarly}, 0, 1, maxEarly)
}

// arrivesAfter sends a packet from a to b, calls tell, by which b hears of a, and
// returns after how long the packet arrives.
func arrivesAfter(t *testing.T, a, b *node, tell func()) time.Duration {
	t.Helper()
	start := time.Now()
	packet := tuntest.Ping(b.addr, a.addr)
	a.tun.Outbound <- packet
	tell()
	select {
	case got := <-b.tun.Inbound:
		if !bytes.Equal(got, packet) {
			t.Errorf("arrived %x, want %x", got, packet)
		}
	case <-time.After(time.Minute):
		t.Error("did not arrive")
	}
	return time.Since(start)
}

// Two nodes come up, and a hears of b before b hears of a. The first packet
// waits for that, and not for WireGuard's second initiation.
func TestFirstPacketBeforeTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDERPRelay(t)
		a, b := r.node(t, "100.64.0.1"), r.node(t, "100.64.0.2")
		time.Sleep(time.Second) // both are connected
		a.know(t, map[*node]int{b: 1})
		const late = 2 * time.Second
		got := arrivesAfter(t, a, b, func() {
			time.Sleep(late)
			b.know(t, map[*node]int{a: 1})
		})
		if got != late {
			t.Errorf("the first packet arrives after %v, want %v", got, late)
		}
		wantArrives(t, "and back", b, a, true)
	})
}

// While the map is put into force, the Conn knows a peer and WireGuard does not
// yet.
func TestFirstPacketBeforeWireGuardIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.SetPeers([]Peer{a.peer(1)})
		got := arrivesAfter(t, a, b, func() {
			time.Sleep(time.Second)
			b.know(t, map[*node]int{a: 1})
		})
		if got != time.Second {
			t.Errorf("the first packet arrives after %v, want 1s", got)
		}
	})
}

// Strangers may push each other out, and nobody else.
func TestFloodOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		initiation := make([]byte, initiationSize)
		initiation[0] = typeInitiation
		for range 10 * maxEarly {
			b.relays.(*memPool).out <- relay.Packet{Region: 1, Src: key.NewNode().Public(), Data: initiation}
		}
		synctest.Wait()
		b.do(func() {
			if len(b.early) != maxEarly {
				t.Errorf("%d packets are held, want %d", len(b.early), maxEarly)
			}
		})
		wantArrives(t, "a peer, meanwhile", a, b, true)
		wantArrives(t, "and back", b, a, true)
	})
}
