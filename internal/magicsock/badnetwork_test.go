package magicsock

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// Hours on a bad network: a twentieth of all packets is lost, they overtake
// each other, hosts move to other networks, links are cut and relays restart.
// After each trouble the two nodes must soon have a direct path again.
func TestBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		chance := rand.New(rand.NewPCG(1, 2))
		bad := simnet.Quality{Latency: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05}
		var homes []*simnet.Router
		for range 3 {
			homes = append(homes, l.Router(simnet.RouterConfig{NAT: simnet.EasyNAT()}))
		}
		hostA, hostB := homes[0].Host(), homes[1].Host()
		hostA.Link().Set(bad)
		hostB.Link().Set(bad)
		a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
		at := 0
		troubles := []struct {
			name   string
			happen func()
		}{
			{"a moves", func() {
				at = 2 - at
				hostA.Move(homes[at])
				hostA.Link().Set(bad)
				a.SetHost(Host{Addrs: hostA.Addrs()})
				a.NetworkChanged()
			}},
			{"b's link is cut for a while", func() {
				hostB.Link().Cut()
				time.Sleep(time.Duration(chance.IntN(60)) * time.Second)
				hostB.Link().Heal()
			}},
			{"a relay restarts", func() {
				l.relays.set(1, false)
				time.Sleep(time.Duration(chance.IntN(30)) * time.Second)
				l.relays.set(1, true)
			}},
			{"nothing is said for a while", func() {
				time.Sleep(time.Duration(chance.IntN(30)) * time.Minute)
			}},
		}
		time.Sleep(5 * time.Second) // homes and public addresses are found
		for range 150 {
			// The coordinator has news of endpoints and homes.
			a.know(t, map[*node]int{b: b.Local().HomeDERP})
			b.know(t, map[*node]int{a: a.Local().HomeDERP})
			if !settles(a, b) || !settles(b, a) {
				ab, _ := a.PeerInfo(b.key.Public())
				ba, _ := b.PeerInfo(a.key.Public())
				t.Fatalf("no direct path: %+v and %+v", ab, ba)
			}
			trouble := troubles[chance.IntN(len(troubles))]
			t.Log(trouble.name)
			trouble.happen()
		}
	})
}

// settles sends until something has arrived by a direct path, for half a
// minute.
func settles(from, to *node) bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // relays take none
		arrived := arrives(from, to)
		info, _ := from.PeerInfo(to.key.Public())
		if arrived && info.Direct.IsValid() && info.Relay == 0 {
			return true
		}
	}
	return false
}
