package magicsock

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

// TestASilentPeerIsNotFlooded sends a thousand packets a second to a peer that
// does not answer: what leaves is a handshake every five seconds, and calls.
func TestASilentPeerIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a := r.memNode(t, "100.64.0.1")
		silent := &node{key: key.NewNode(), disco: key.NewDisco(), addr: netip.MustParseAddr("100.64.0.2")}
		inbox := r.pool(silent.key.Public())
		inbox.SetMap(testMap(1))
		inbox.SetHome(1)
		a.SetPeers([]Peer{{Key: silent.key.Public(), Disco: silent.disco.Public(), HomeDERP: 1}})
		a.must(t, a.wg.SetPeers([]wg.Peer{{Key: silent.key.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(silent.addr, 32)}}}))
		a.PeersReady()
		for range 60_000 {
			a.tun.Outbound <- ping(a, silent)
			time.Sleep(time.Millisecond)
		}
		handshakes, others := 0, 0
		for len(inbox.out) > 0 {
			if p := <-inbox.out; isInitiation(p.Data) {
				handshakes++
			} else {
				others++
			}
		}
		if handshakes < 10 || handshakes > 13 || others > 100 {
			t.Errorf("in a minute %d handshakes and %d other messages came", handshakes, others)
		}
	})
}
