package magicsock

import (
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/path"
)

// send sends WireGuard messages to a peer, by the route that the loop stored.
// It may be called by several goroutines at once.
func (c *Conn) send(p *peer, packets [][]byte) {
	if c.preshare != nil && len(packets) == 1 && isInitiation(packets[0]) {
		c.begin(p, packets[0])
		return
	}
	c.sendNow(p, packets)
}

// sendNow sends what need not wait for an agreement.
func (c *Conn) sendNow(p *peer, packets [][]byte) {
	r := p.route.Load()
	may, also := p.handshakes.maySend(packets)
	if !may {
		return
	}
	c.sendAlso(p, r, also, packets)
	largest := maxLen(packets)
	c.noteSent(p, r, largest)
	if r.direct.IsValid() && largest <= r.mtu {
		c.sendDirect(p, r, packets)
		c.sendRelayed(p, r.region, packets)
		return
	}
	if r.direct.IsValid() {
		// Some do not fit through the path, though they may have when they
		// were made. The relay carries all of them, and keeps their order.
		c.sendRelayed(p, r.spare, packets)
		return
	}
	c.sendRelayed(p, r.region, packets)
}

// sendAlso sends messages to where the peer is besides the route, unless that is
// part of it.
func (c *Conn) sendAlso(p *peer, r *route, to origin, packets [][]byte) {
	if to.region != 0 && r.direct.IsValid() && r.region == 0 {
		c.sendRelayed(p, to.region, packets)
	}
	if to.addr.IsValid() && to.addr != r.direct {
		c.sendDirect(p, &route{direct: to.addr}, packets)
	}
}

// repeatInitiation has our initiation go by the path that has just been found,
// if it waits for its answer: where it went, through a relay, it may be slow, or
// wait for a connection.
func (c *Conn) repeatInitiation(p *peer, r *route) {
	if initiation, waits := p.handshakes.unanswered(time.Now()); waits {
		c.sendDirect(p, r, [][]byte{initiation})
	}
}

// noteSent lets the loop know that the peer is in use, at once if it wants.
func (c *Conn) noteSent(p *peer, r *route, largest int) {
	sent := int32(sentSmall)
	if largest > path.BaseMTU {
		sent = sentLarge
	}
	if p.sent.Load() < sent {
		p.sent.Store(sent)
	}
	if largest <= r.wake {
		return
	}
	select {
	case c.inbox.wakes <- p:
	default: // the next packet tries again
	}
}

func (c *Conn) sendRelayed(p *peer, region int, packets [][]byte) {
	if region == 0 {
		return
	}
	for _, packet := range packets {
		c.relays.Send(region, p.key, packet)
	}
}

func (c *Conn) sendDirect(p *peer, r *route, packets [][]byte) {
	u := r.by
	if u == nil {
		u = c.sockets.to(r.direct.Addr())
	}
	if u == nil {
		return
	}
	if err := u.WriteBatch(packets, r.direct); err != nil {
		c.fail(failure{p, r.direct, maxLen(packets), err})
	}
}

func maxLen(packets [][]byte) (n int) {
	for _, packet := range packets {
		n = max(n, len(packet))
	}
	return n
}

// failure tells the loop that packets to a peer could not be sent.
type failure struct {
	peer *peer
	to   netip.AddrPort
	size int // of the largest
	err  error
}

// fail tells the loop, if it has time: if not, the next packet fails, too.
func (c *Conn) fail(f failure) {
	select {
	case c.inbox.failures <- f:
	default:
	}
}
