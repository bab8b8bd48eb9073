package magicsock

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// Port probing finds a path in nearly every case, soon enough, and is no flood.
func TestPortProbing(t *testing.T) {
	for _, test := range []struct {
		name  string
		ports simnet.PortChoice
		runs  int
	}{
		{"random ports", simnet.RandomPorts, 50},
		{"sequential ports", simnet.SequentialPorts, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			var times []time.Duration
			for run := range test.runs {
				synctest.Test(t, func(t *testing.T) {
					hard := simnet.HardNAT()
					hard.Ports = test.ports
					if found, ok := probe(t, uint64(run), hard); ok {
						times = append(times, found)
					}
				})
			}
			slices.Sort(times)
			if len(times) < test.runs*9/10 {
				t.Fatalf("a path was found in %d of %d runs", len(times), test.runs)
			}
			t.Logf("found in %d of %d runs, p50 after %v, the last after %v", len(times), test.runs, times[len(times)/2], times[len(times)-1])
		})
	}
}

// probe has a node behind a hard NAT send to one behind an easy NAT, and
// returns when both have a direct path, if that is within 20 s.
func probe(t *testing.T, seed uint64, hard *simnet.NAT) (found time.Duration, ok bool) {
	l := newLabOf(t, seed)
	a := l.node(t, "100.64.0.1", l.behind(&simnet.RouterConfig{NAT: hard}))
	b := l.node(t, "100.64.0.2", l.behind(&simnet.RouterConfig{NAT: simnet.EasyNAT()}))
	time.Sleep(5 * time.Second)
	var sent atomic.Int64
	l.Tap(func(simnet.Datagram) { sent.Add(1) })
	a.know(t, map[*node]int{b: b.Local().HomeDERP})
	b.know(t, map[*node]int{a: a.Local().HomeDERP})
	begin := time.Now()
	for second := 1; second <= 20; second++ {
		sent.Store(0)
		for range 20 {
			wantArrives(t, "a packet", a, b, true)
			time.Sleep(50 * time.Millisecond)
			if isDirect(a, b) && isDirect(b, a) {
				found := time.Since(begin)
				if seed == 0 {
					wantStays(t, a, b)
				}
				return found, true
			}
		}
		if n := sent.Load(); n > 200 {
			t.Errorf("%d packets were sent in a second", n)
		}
	}
	return 0, false
}

// wantStays checks that a direct path carries data both ways for a while.
func wantStays(t *testing.T, a, b *node) {
	t.Helper()
	for range 60 {
		wantArrives(t, "a packet by the path found", a, b, true)
		wantArrives(t, "a packet back", b, a, true)
		time.Sleep(time.Second)
		if !isDirect(a, b) || !isDirect(b, a) {
			t.Error("the path found is lost again")
			return
		}
	}
}

func isDirect(from, to *node) bool {
	info, _ := from.PeerInfo(to.key.Public())
	return info.Direct.IsValid() && info.Relay == 0
}

func TestPortProbingCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.config = func(c *Config) { c.NoPortProbing = true }
		a := l.node(t, "100.64.0.1", l.behind(&simnet.RouterConfig{NAT: simnet.HardNAT()}))
		b := l.node(t, "100.64.0.2", l.behind(&simnet.RouterConfig{NAT: simnet.EasyNAT()}))
		time.Sleep(5 * time.Second)
		a.know(t, map[*node]int{b: b.Local().HomeDERP})
		b.know(t, map[*node]int{a: a.Local().HomeDERP})
		for range 60 {
			wantArrives(t, "a packet", a, b, true)
			time.Sleep(time.Second)
		}
		if isDirect(a, b) {
			t.Error("a path was found")
		}
	})
}
