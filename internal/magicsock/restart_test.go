package magicsock

import (
	"testing"
	"testing/synctest"
	"time"
)

// A process ends and another one with its keys begins elsewhere, of which the
// coordinator does not tell. The other node answers it through the relay, by
// which it asks, and soon has another path.
func TestRestartWithTheSameKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		hostA, hostB, elsewhere := l.Host(), l.Host(), l.Host()
		a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
		time.Sleep(5 * time.Second) // homes and public addresses are found
		a.know(t, map[*node]int{b: b.Local().HomeDERP})
		b.know(t, map[*node]int{a: a.Local().HomeDERP})
		wantArrives(t, "a packet", a, b, true)
		time.Sleep(5 * time.Second)
		wantArrives(t, "a packet on the direct path", b, a, true)
		if !isDirect(a, b) {
			t.Fatal("there is no direct path")
		}

		b.wg.Close()
		b.Conn.Close()
		again := l.nodeOf(t, b.key, b.disco, "100.64.0.2", elsewhere)
		time.Sleep(2 * time.Second) // it has a relay; a still believes in the path
		again.know(t, map[*node]int{a: a.Local().HomeDERP})
		begin := time.Now()
		wantArrives(t, "from the new process", again, a, true)
		for !arrives(a, again) {
			if time.Since(begin) > 2*time.Second {
				t.Fatal("two seconds after its first packet the new process hears nothing")
			}
		}
	})
}
