package relay

import (
	"bytes"
	"testing"

	"github.com/meshnet-go/meshnet/internal/path"
)

// Buffers are used again, up to what nodes of ours send through relays.
func TestBuffersAllocateNothing(t *testing.T) {
	var pool buffers
	for _, size := range []int{0, 1, smallPacket, smallPacket + 1, path.RelayMTU} {
		packet := bytes.Repeat([]byte{1}, size)
		if n := testing.AllocsPerRun(1000, func() {
			buf := pool.get(packet)
			if !bytes.Equal(buf.data, packet) {
				t.Fatalf("%d bytes, want %d", len(buf.data), size)
			}
			buf.release()
		}); n != 0 {
			t.Errorf("a packet of %d bytes allocates %v times", size, n)
		}
	}
}
