package path

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
)

// flooded returns a Peer in use whose tables are full.
func flooded() (*Peer, time.Time) {
	p := New()
	p.Sent(zero, false)
	p.SetCandidates(zero, addresses(100))
	p.HandleCallMeMaybe(zero, addresses(101))
	for i := range byte(255) {
		p.HandlePing(zero, address(i))
	}
	return p, zero
}

// A ping from yet another source is what costs most.
func BenchmarkPingFlood(b *testing.B) {
	p, now := flooded()
	b.ReportAllocs()
	for i := range b.N {
		now = now.Add(time.Microsecond)
		p.HandlePing(now, netip.AddrPortFrom(public.Addr(), uint16(i)))
	}
}

func BenchmarkForgedPongFlood(b *testing.B) {
	p, now := flooded()
	b.ReportAllocs()
	for range b.N {
		now = now.Add(time.Microsecond)
		p.HandlePong(now, public, disco.TxID{1})
	}
}

// What a busy peer costs is this, every few seconds.
func BenchmarkTick(b *testing.B) {
	p, now := flooded()
	b.ReportAllocs()
	for range b.N {
		p.Sent(now, false)
		now = p.Deadline()
		p.Tick(now)
	}
}
