package udp

import "net"

// The socket's buffers hold what comes while nobody reads, which at some
// Gbit/s is much within a millisecond. Tailscale's nodes ask for as much
// (observed in v1.102.5).
const (
	socketBuffer    = 7 << 20
	socketBufferMin = 256 << 10 // about what hosts give unasked
)

func enlargeBuffers(pc net.PacketConn) {
	if c, ok := pc.(interface{ SetReadBuffer(bytes int) error }); ok {
		enlarge(c.SetReadBuffer)
	}
	if c, ok := pc.(interface{ SetWriteBuffer(bytes int) error }); ok {
		enlarge(c.SetWriteBuffer)
	}
	forceBuffers(pc)
}

// enlarge asks for less each time that it is refused: BSD and macOS refuse what
// is above their limit, where Linux gives the limit.
func enlarge(set func(bytes int) error) {
	for size := socketBuffer; size >= socketBufferMin && set(size) != nil; size /= 2 {
	}
}
