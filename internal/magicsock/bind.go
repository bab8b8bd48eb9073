package magicsock

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/udp"
	"github.com/meshnet-go/meshnet/key"
)

// batch is the number of packets that WireGuard gets at once at most. It keeps
// a buffer of 64 KiB for each.
const batch = 32

// bind is WireGuard's view of a Conn. WireGuard closes and opens it whenever it
// likes, so it owns nothing but the end of its ReceiveFunc.
type bind struct {
	conn *Conn

	mu     sync.Mutex
	closed chan struct{} // nil while not open
}

// Open implements [conn.Bind].
func (b *bind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	select {
	case <-b.conn.ctx.Done():
		return nil, 0, net.ErrClosed
	default:
	}
	closed := make(chan struct{})
	b.closed = closed
	b.conn.sockets.resume()
	receivers := []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		to := received{packets: packets, sizes: sizes, eps: eps}
		err := b.conn.receive(closed, &to)
		return to.n, err
	}}
	b.conn.sockets.each(func(u *udp.Conn) {
		r := &receiver{conn: b.conn, socket: u, closed: closed}
		receivers = append(receivers, r.receive)
	})
	return receivers, 0, nil
}

// Close implements [conn.Bind].
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		close(b.closed)
		b.closed = nil
		b.conn.sockets.interrupt()
	}
	return nil
}

// Send implements [conn.Bind]. A packet that cannot be sent now is lost, as on
// any network, and WireGuard finds out as on any network.
func (b *bind) Send(packets [][]byte, ep conn.Endpoint) error {
	p, ok := ep.(*peer)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.conn.send(p, packets)
	return nil
}

// ParseEndpoint implements [conn.Bind]: an endpoint is the hex digits of a
// peer's node key. It is an error when there is no such peer.
func (b *bind) ParseEndpoint(digits string) (conn.Endpoint, error) {
	k, err := key.ParseNodePublic("nodekey:" + digits)
	if err != nil {
		return nil, err
	}
	p, ok := (*b.conn.peers.Load())[k]
	if !ok {
		return nil, fmt.Errorf("no peer has the key %s", k.Short())
	}
	return p, nil
}

// SetMark implements [conn.Bind]. The sockets are whose network it is to mark.
func (b *bind) SetMark(uint32) error { return nil }

// BatchSize implements [conn.Bind].
func (b *bind) BatchSize() int { return batch }

// peer implements [conn.Endpoint]. What WireGuard takes for the source of a
// packet, in its cookies and in its rate limits, is the sender's key: the relay
// vouches for it, and an address of a relay says nothing.

func (p *peer) DstToBytes() []byte  { return p.key.AppendRaw(nil) }
func (p *peer) DstIP() netip.Addr   { k := p.key.Raw32(); return netip.AddrFrom16([16]byte(k[:])) }
func (p *peer) DstToString() string { return p.key.Short() }
func (p *peer) SrcToString() string { return "" }
func (p *peer) SrcIP() netip.Addr   { return netip.Addr{} }
func (p *peer) ClearSrc()           {}
