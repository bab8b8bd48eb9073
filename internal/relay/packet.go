package relay

import (
	"sync"

	"github.com/meshnet-go/meshnet/key"
)

// Packet is what a peer sent us through a relay.
type Packet struct {
	Region int
	Src    key.NodePublic // as the relay says, which has made sure
	Data   []byte         // of up to 64 KiB

	buf *buffer
}

// Release gives the memory of Data back. It is called once, when Data is of no
// more use.
func (p Packet) Release() {
	if p.buf != nil {
		p.buf.release()
	}
}

// smallPacket is what a pooled buffer holds. WireGuard's packets for the usual
// MTU of 1280 fit; larger ones are allocated each.
const smallPacket = 2 << 10

// buffers is where buffers come from and go back to.
type buffers struct{ pool sync.Pool }

// buffer holds a packet.
type buffer struct {
	from *buffers
	data []byte
	room [smallPacket]byte
}

// get returns a buffer with a copy of packet.
func (b *buffers) get(packet []byte) *buffer {
	buf, _ := b.pool.Get().(*buffer)
	if buf == nil {
		buf = &buffer{from: b}
	}
	buf.data = append(buf.room[:0], packet...)
	return buf
}

func (b *buffer) release() {
	b.data = nil
	b.from.pool.Put(b)
}
