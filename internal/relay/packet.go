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

// What pooled buffers hold. Small are WireGuard's packets for the usual MTU of 1280,
// large those between two nodes of ours (path.RelayMTU). The few that are larger
// still are allocated each.
const (
	smallPacket = 2 << 10
	largePacket = 9 << 10
)

// buffers is where buffers come from and go back to.
type buffers struct {
	pool  sync.Pool // of *buffer
	large sync.Pool // of *[largePacket]byte
}

// buffer holds a packet.
type buffer struct {
	from  *buffers
	data  []byte
	small [smallPacket]byte
	large *[largePacket]byte // nil when small does
}

// get returns a buffer with a copy of packet.
func (b *buffers) get(packet []byte) *buffer {
	buf, _ := b.pool.Get().(*buffer)
	if buf == nil {
		buf = &buffer{from: b}
	}
	room := buf.small[:0]
	if n := len(packet); n > smallPacket && n <= largePacket {
		if buf.large, _ = b.large.Get().(*[largePacket]byte); buf.large == nil {
			buf.large = new([largePacket]byte)
		}
		room = buf.large[:0]
	}
	buf.data = append(room, packet...)
	return buf
}

func (b *buffer) release() {
	if b.large != nil {
		b.from.large.Put(b.large)
	}
	b.data, b.large = nil, nil
	b.from.pool.Put(b)
}
