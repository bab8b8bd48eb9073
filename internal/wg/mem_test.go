package wg

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/key"
)

// memNet joins binds in memory, by node key.
type memNet struct {
	mu    sync.Mutex
	binds map[key.NodePublic]*memBind
}

func (n *memNet) at(k key.NodePublic) *memBind {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.binds[k]
}

// bind adds the bind of a node to the network. With the same key again, the
// node answers to both.
func (n *memNet) bind(k key.NodePublic, b *memBind) *memBind {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.binds == nil {
		n.binds = make(map[key.NodePublic]*memBind)
	}
	if b == nil {
		b = &memBind{net: n, rx: make(chan memPacket, 256)}
	}
	b.self = k
	n.binds[k] = b
	return b
}

type memPacket struct {
	from key.NodePublic
	data []byte
}

type memBind struct {
	net  *memNet
	self key.NodePublic
	rx   chan memPacket

	// sends, if set before there are peers, is called with what is sent.
	sends func(packet []byte, to key.NodePublic)

	mu     sync.Mutex
	closed chan struct{}
	parsed int // calls of ParseEndpoint
}

func (b *memBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	closed := make(chan struct{})
	b.closed = closed
	receive := func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case <-closed:
			return 0, net.ErrClosed
		case p := <-b.rx:
			sizes[0] = copy(packets[0], p.data)
			eps[0] = &memEndpoint{p.from} // another one each time, as if peers roamed
			return 1, nil
		}
	}
	return []conn.ReceiveFunc{receive}, 1, nil
}

func (b *memBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		close(b.closed)
		b.closed = nil
	}
	return nil
}

func (b *memBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to := b.net.at(ep.(*memEndpoint).key)
	if to == nil {
		return nil
	}
	for _, buf := range bufs {
		if b.sends != nil {
			b.sends(buf, to.self)
		}
		select {
		case to.rx <- memPacket{b.self, append([]byte(nil), buf...)}:
		default:
		}
	}
	return nil
}

func (b *memBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parsed++
	k, err := key.ParseNodePublic("nodekey:" + s)
	return &memEndpoint{k}, err
}

func (b *memBind) parses() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parsed
}

func (b *memBind) SetMark(uint32) error { return nil }
func (b *memBind) BatchSize() int       { return 8 }

type memEndpoint struct{ key key.NodePublic }

func (e *memEndpoint) ClearSrc()           {}
func (e *memEndpoint) SrcToString() string { return "" }
func (e *memEndpoint) DstToString() string { return e.key.Short() }
func (e *memEndpoint) DstToBytes() []byte  { return e.key.AppendRaw(nil) }
func (e *memEndpoint) DstIP() netip.Addr   { return netip.IPv6Unspecified() }
func (e *memEndpoint) SrcIP() netip.Addr   { return netip.Addr{} }

// ipPacket makes an IPv4 or IPv6 packet that holds text.
func ipPacket(src, dst netip.Addr, text string) []byte {
	if src.Is4() {
		p := make([]byte, 20, 20+len(text))
		p[0], p[8], p[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(p[2:], uint16(20+len(text)))
		copy(p[12:], src.AsSlice())
		copy(p[16:], dst.AsSlice())
		return append(p, text...)
	}
	p := make([]byte, 40, 40+len(text))
	p[0], p[6], p[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(p[4:], uint16(len(text)))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	return append(p, text...)
}
