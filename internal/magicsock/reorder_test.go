package magicsock

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// On a network where packets overtake each other they come out of WireGuard in
// order, and the last ones too when nothing follows them.
func TestOvertakenPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		hostA, hostB := l.behind(nil), l.behind(nil)
		hostB.Link().Set(simnet.Quality{Latency: 10 * time.Millisecond, Jitter: 4 * time.Millisecond})
		a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
		time.Sleep(5 * time.Second) // homes and public addresses are found
		a.know(t, map[*node]int{b: b.Local().HomeDERP})
		b.know(t, map[*node]int{a: a.Local().HomeDERP})
		for range 10 {
			wantArrives(t, "while a path is searched", a, b, true)
			time.Sleep(time.Second)
		}
		if !isDirect(a, b) {
			t.Fatal("there is no direct path")
		}

		const packets = 2000
		go func() {
			for i := range uint32(packets) {
				packet := tuntest.Ping(b.addr, a.addr)
				binary.BigEndian.PutUint32(packet[len(packet)-4:], i)
				a.tun.Outbound <- packet
				time.Sleep(time.Millisecond)
			}
		}()
		overtaken, highest := 0, uint32(0)
		for n := range packets {
			var packet []byte
			select {
			case packet = <-b.tun.Inbound:
			case <-time.After(time.Second):
				t.Fatalf("%d of %d packets arrive", n, packets)
			}
			number := binary.BigEndian.Uint32(packet[len(packet)-4:])
			if number < highest {
				overtaken++
			}
			highest = max(highest, number)
		}
		if overtaken > 0 {
			t.Errorf("%d of %d packets come out after a later one", overtaken, packets)
		}
	})
}
