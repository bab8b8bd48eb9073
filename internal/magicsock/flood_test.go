package magicsock

import (
	"log/slog"
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/stun"
	"github.com/meshnet-go/meshnet/key"
)

// What a packet costs that anybody may send. Nothing is allocated but for what
// claims to be a peer's disco message, of which as many as the loop has time for
// are copied, 64 at once at most, and opened in vain.
func BenchmarkFlood(b *testing.B) {
	c := newConn(Config{Node: key.NewNode(), Disco: key.NewDisco(), Logger: slog.New(slog.DiscardHandler)}, new(memRelays).pool(key.NewNode().Public()))
	defer c.Close()
	peer, stranger := key.NewDisco(), key.NewDisco()
	c.SetPeers([]Peer{{Key: key.NewNode().Public(), Disco: peer.Public()}})
	c.PeersReady()
	shared := stranger.Shared(c.discoPublic)
	initiation := make([]byte, initiationSize)
	initiation[0] = typeInitiation
	var mapped [32]byte
	copy(mapped[:], []byte{1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42})
	for _, flood := range []struct {
		name   string
		packet []byte
	}{
		{"disco of a stranger", disco.Seal(nil, stranger.Public(), &shared, disco.Ping{})},
		{"disco forged of a peer", disco.Seal(nil, peer.Public(), &shared, disco.Ping{})},
		{"STUN", stun.AppendRequest(nil, stun.TxID{})},
		{"STUN answer", mapped[:]},
		{"initiation", initiation},
		{"noise", make([]byte, 1312)},
	} {
		b.Run(flood.name, func(b *testing.B) {
			var packets [batch][]byte
			var sizes [batch]int
			var from [batch]netip.AddrPort
			var eps [batch]conn.Endpoint
			for i := range packets {
				packets[i] = flood.packet
				from[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), uint16(i+1))
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(flood.packet)))
			for n := 0; n < b.N; n += batch {
				for i := range sizes {
					sizes[i] = len(flood.packet)
				}
				c.sort(packets[:], sizes[:], from[:], eps[:], nil)
			}
		})
	}
}
