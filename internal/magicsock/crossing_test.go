package magicsock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// Both send their first packet in the same instant, and both arrive within the
// time that one handshake takes.
func TestFirstPacketsThatCross(t *testing.T) {
	for _, latency := range []time.Duration{0, 50 * time.Millisecond} {
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				hostA, hostB := l.Host(), l.Host()
				hostA.Link().Set(simnet.Quality{Latency: latency})
				hostB.Link().Set(simnet.Quality{Latency: latency})
				a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
				time.Sleep(5 * time.Second) // homes and public addresses are found
				a.know(t, map[*node]int{b: b.Local().HomeDERP})
				b.know(t, map[*node]int{a: a.Local().HomeDERP})
				a.tun.Outbound <- ping(a, b)
				b.tun.Outbound <- ping(b, a)
				late := time.After(crossingTime - time.Millisecond)
				for _, n := range []*node{a, b} {
					select {
					case <-n.tun.Inbound:
					case <-late:
						t.Fatalf("latency %v: a packet waits for a second handshake", latency)
					}
				}
			})
		}
	}
}

// A peer's initiation waits for the answer to ours, but for no longer than a
// moment.
func TestCrossingIsShort(t *testing.T) {
	for _, test := range []struct {
		name     string
		first    bool // our key is the smaller one
		answered bool
		want     time.Duration // after which WireGuard gets the peer's initiation; -1: never
	}{
		{"ours goes first and is lost", true, false, crossingTime},
		{"ours goes first and is answered", true, true, -1},
		{"the peer's goes first", false, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(memRelays)
				a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
				if (a.key.Public().Compare(b.key.Public()) < 0) != test.first {
					a, b = b, a
				}
				a.know(t, map[*node]int{b: 1})
				p := (*a.peers.Load())[b.key.Public()]
				p.handshakes.wantSent(t, "our initiation", testInitiation(7), true)
				begin := time.Now()
				if a.admit(p, origin{region: 1}, testInitiation(8)) != nil {
					t.Fatal("an initiation that crosses ours goes to WireGuard")
				}
				if test.answered {
					a.admit(p, origin{region: 1}, testResponse(7))
				}
				came := func() time.Duration {
					for range 2 * crossingTime / time.Millisecond {
						synctest.Wait()
						if v, _ := p.handshakes.receive(testInitiation(8), origin{region: 1}); v == drop {
							return time.Since(begin)
						}
						time.Sleep(time.Millisecond)
					}
					return -1
				}
				if test.answered { // then to ask is to take it
					time.Sleep(2 * crossingTime)
					p.handshakes.wantVerdict(t, "it was dropped", testInitiation(8), take)
				} else if got := came(); got != test.want {
					t.Errorf("WireGuard gets it after %v, want %v", got, test.want)
				}
			})
		})
	}
}
