package magicsock

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/internal/simnet"
	"github.com/meshnet-go/meshnet/internal/wg"
)

// Two meshnet nodes use what the path carries, and a path that shrinks loses
// nothing for long.
func TestPathMTU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		hostA, hostB := l.behind(nil), l.behind(nil)
		frames := func(mtu int) {
			for _, host := range []*simnet.Host{hostA, hostB} {
				host.Link().Set(simnet.Quality{Latency: 5 * time.Millisecond, MTU: mtu})
			}
		}
		frames(9001)
		a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
		time.Sleep(5 * time.Second)
		a.know(t, map[*node]int{b: b.Local().HomeDERP})
		b.know(t, map[*node]int{a: a.Local().HomeDERP})

		wantMTU := func(sentence string, low, high int, within time.Duration) {
			t.Helper()
			// In the tunnel; messages are 32 bytes larger, and padded to 16.
			for begin := time.Now(); ; {
				mtu := wg.PacketSize(max(path.BaseMTU, a.Local().MTU[b.key.Public()]))
				if mtu >= low && mtu <= high {
					return
				}
				if time.Since(begin) > within {
					t.Fatalf("%s: %d after %v, want %d to %d", sentence, mtu, within, low, high)
				}
				wantLargeArrives(t, a, b, high)
				time.Sleep(50 * time.Millisecond)
			}
		}
		wantMTU("jumbo frames", 8600, 9001-28-32, 10*time.Second)
		wantLargeArrives(t, a, b, 8600)
		frames(1500)
		wantMTU("the path shrinks", 1280, 1280, 2*time.Second)
		wantMTU("Ethernet", 1392, 1500-28-32, 30*time.Second)
		frames(1400)
		wantMTU("the path shrinks again", 1280, 1280, 2*time.Second)
	})
}

// TestPathMTUOfOthers: other nodes take no more than 1,280 bytes.
func TestPathMTUOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a, b := l.node(t, "100.64.0.1", l.behind(nil)), l.node(t, "100.64.0.2", l.behind(nil))
		time.Sleep(5 * time.Second)
		a.know(t, map[*node]int{b: b.Local().HomeDERP})
		b.know(t, map[*node]int{a: a.Local().HomeDERP})
		b.do(func() { // another kind of node says no hello
			for _, p := range *b.peers.Load() {
				b.meet(p)
				p.greeting = greeting{tries: helloTries, answered: time.Now().Add(time.Hour)}
			}
		})
		for range 60 {
			wantArrives(t, "a packet", a, b, true)
			time.Sleep(time.Second)
		}
		if mtus := a.Local().MTU; !isDirect(a, b) || len(mtus) > 0 {
			t.Errorf("direct: %v, MTUs: %v", isDirect(a, b), mtus)
		}
	})
}

// wantLargeArrives has a send b a packet of a size by whatever way.
func wantLargeArrives(t *testing.T, a, b *node, size int) {
	t.Helper()
	packet := append(ping(a, b), make([]byte, size)...)[:size]
	packet[2], packet[3] = byte(size>>8), byte(size)
	a.tun.Outbound <- packet
	select {
	case got := <-b.tun.Inbound:
		if !bytes.Equal(got, packet) {
			t.Errorf("a packet of %d bytes arrives as %d others", size, len(got))
		}
	case <-time.After(time.Second):
		t.Logf("a packet of %d bytes is lost", size)
	}
}
