package relay

import (
	"testing"

	"github.com/meshnet-go/meshnet/key"
)

// BenchmarkSend queues a packet, and takes and releases it as a link does.
func BenchmarkSend(b *testing.B) {
	p := NewPool(Config{})
	defer p.Close()
	l := &link{wake: make(chan struct{}, 1)}
	p.byID[1] = l
	dst, packet := key.NewNode().Public(), make([]byte, 1312)
	var batch []outgoing
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Send(1, dst, packet); err != nil {
			b.Fatal(err)
		}
		batch = p.take(l, batch[:0]).batch
		batch[0].buf.release()
	}
}
