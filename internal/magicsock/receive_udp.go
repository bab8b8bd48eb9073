package magicsock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/reorder"
	"github.com/meshnet-go/meshnet/internal/stun"
	"github.com/meshnet-go/meshnet/internal/udp"
	"github.com/meshnet-go/meshnet/key"
)

// A receiver reads a socket for WireGuard, until the bind is closed.
type receiver struct {
	conn   *Conn
	socket *udp.Conn
	closed <-chan struct{}

	from  []netip.AddrPort
	order reorder.Buffer[conn.Endpoint]
	due   time.Time // the deadline of the socket; zero when it has none
}

// receive is a [conn.ReceiveFunc].
func (r *receiver) receive(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	if len(r.from) < len(packets) {
		r.from = make([]netip.AddrPort, len(packets))
	}
	for {
		if n := r.next(0, packets, sizes, eps); n > 0 {
			return n, nil
		}
		r.setDeadline()
		n, err := r.socket.ReadBatch(packets, sizes, r.from[:len(packets)])
		if err != nil {
			if r.expire(err) || r.conn.readAgain(err, r.closed) {
				continue
			}
			return 0, net.ErrClosed
		}
		if !r.conn.sort(packets[:n], sizes, r.from, eps, nil) {
			continue
		}
		n = r.arrange(packets[:n], sizes, eps)
		if n = r.next(n, packets, sizes, eps); n > 0 {
			return n, nil
		}
	}
}

// arrange takes away the packets that are not in order, and those after them. It
// returns how many are left.
func (r *receiver) arrange(packets [][]byte, sizes []int, eps []conn.Endpoint) (n int) {
	now := time.Now()
	r.order.Expire(now)
	for i, packet := range packets {
		if sizes[i] == 0 {
			continue
		}
		if r.order.Add(now, packet[:sizes[i]], eps[i]) {
			n = i + 1
		} else {
			sizes[i] = 0
		}
	}
	return n
}

// next adds to n packets those whose turn it is, and returns how many there are.
func (r *receiver) next(n int, packets [][]byte, sizes []int, eps []conn.Endpoint) int {
	for n < len(packets) {
		data, ep, ok := r.order.Next()
		if !ok {
			break
		}
		sizes[n] = copy(packets[n], data)
		eps[n] = ep
		n++
	}
	return n
}

// setDeadline has the socket wait no longer than packets are held. A deadline for
// which nothing is held any more is left, and passes in vain.
func (r *receiver) setDeadline() {
	if due, ok := r.order.Deadline(); ok && !due.Equal(r.due) {
		r.due = due
		r.socket.SetReadDeadline(due)
	}
}

// expire acts on the end of waiting, if the error says that and it was ours. The
// order matters: whoever closes the bind sets a deadline after that.
func (r *receiver) expire(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || r.due.IsZero() {
		return false
	}
	r.due = time.Time{}
	r.socket.SetReadDeadline(time.Time{})
	select {
	case <-r.closed:
		return false
	default:
	}
	r.order.Expire(time.Now())
	return true
}

// readPause is how long nothing is read from a socket after an error.
const readPause = 100 * time.Millisecond

// readAgain waits a moment after an error of a socket, and reports whether to
// read on. WireGuard would end for good a goroutine that gets an error, and the
// host may be short of memory, or its network down, for a while only.
func (c *Conn) readAgain(err error, closed <-chan struct{}) bool {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false // the bind is closed, even if it may have been opened again meanwhile
	}
	c.log.Debug("reading from a socket fails", "err", err)
	pause := time.NewTimer(readPause)
	defer pause.Stop()
	select {
	case <-closed:
		return false
	case <-c.ctx.Done():
		return false
	case <-pause.C:
		return true
	}
}

// sort leaves to WireGuard what is WireGuard's, setting endpoints, and takes the
// rest away by setting its size to 0. It reports whether anything was left. The
// packets came by a side socket, or by an ordinary one if that is nil.
func (c *Conn) sort(packets [][]byte, sizes []int, from []netip.AddrPort, eps []conn.Endpoint, by *sideSocket) (left bool) {
	c.addrs.mu.RLock()
	defer c.addrs.mu.RUnlock()
	for i, packet := range packets {
		ep := c.sortOne(packet[:sizes[i]], from[i], by)
		if ep == nil {
			sizes[i] = 0
			continue
		}
		eps[i] = ep
		left = true
	}
	return left
}

// sortOne returns the endpoint that a packet is from, or nil when it is not for
// WireGuard. c.addrs.mu is held for reading.
func (c *Conn) sortOne(packet []byte, from netip.AddrPort, by *sideSocket) conn.Endpoint {
	switch {
	case stun.Is(packet):
		c.deliverAnswer(packet, from)
		return nil
	case disco.Looks(packet):
		c.deliverUDP(packet, from, by)
		return nil
	case len(packet) == 0:
		return nil
	}
	p := c.addrs.peers[from]
	if packet[0] == typeInitiation && (p == nil || !p.ready.Load()) {
		// Anybody can make us compute by these. Peers first prove by disco
		// where they are, or come through the relay.
		return nil
	}
	if p == nil {
		// WireGuard finds the peer by what the packet says, and believes it
		// when it can decrypt it: a NAT may have changed its mind.
		return unknownAddr
	}
	if p = c.admit(p, origin{addr: from}, packet); p == nil {
		return nil
	}
	return p
}

// deliverUDP hands the loop a copy of a disco packet, if the sender is a peer
// and the loop has time.
func (c *Conn) deliverUDP(packet []byte, from netip.AddrPort, by *sideSocket) {
	sender, ok := disco.Source(packet)
	if !ok || len(c.inbox.messages) == cap(c.inbox.messages) {
		return
	}
	peers := (*c.discos.Load())[sender]
	if len(peers) == 0 {
		return
	}
	select {
	case c.inbox.messages <- discoPacket{from: peers[0], addr: from, by: by, data: append([]byte(nil), packet...)}:
	default:
	}
}

// An unknown is the endpoint of packets from addresses that are nobody's.
type unknown struct{}

var unknownAddr conn.Endpoint = unknown{}

func (unknown) DstToBytes() []byte  { return make([]byte, key.Size) }
func (unknown) DstIP() netip.Addr   { return netip.IPv6Unspecified() }
func (unknown) DstToString() string { return "unknown" }
func (unknown) SrcToString() string { return "" }
func (unknown) SrcIP() netip.Addr   { return netip.Addr{} }
func (unknown) ClearSrc()           {}
