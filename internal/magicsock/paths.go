package magicsock

import (
	"errors"
	"math"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/internal/udp"
)

// The loop drives a path.Peer for each peer: it tells it what happened, sends
// what comes out, stores the route, and looks at it again at its deadline.

// happened tells a peer's path of an event, and acts on what it says.
func (c *Conn) happened(p *peer, event func(*path.Peer, time.Time) path.Output) (answered bool) {
	if c.sockets.none() || !c.current(p) {
		return false
	}
	now := time.Now()
	c.meet(p)
	if sent := p.sent.Swap(sentNothing); sent != sentNothing {
		c.carryOut(p, now, p.path.Sent(now, sent == sentLarge))
	}
	out := event(p.path, now)
	c.carryOut(p, now, out)
	c.greet(p, now)
	c.lookForSearch(p, now)
	c.tidySide(p, now)
	c.routeTo(p)
	c.schedule.set(p, p.deadline())
	c.schedule.setAlarm()
	return out.Answered
}

// meet has there be ways to a peer.
func (c *Conn) meet(p *peer) {
	if p.ways == nil {
		p.ways = &ways{path: path.New()}
		c.tellEndpoints(p)
	}
}

// deadline returns when to look at the peer's paths again, or zero.
func (p *peer) deadline() (at time.Time) {
	for _, due := range [...]time.Time{p.path.Deadline(), p.search.plan.Deadline(), p.sideEnd()} {
		if at.IsZero() || !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	return at
}

// current says whether p is still a peer.
func (c *Conn) current(p *peer) bool { return (*c.peers.Load())[p.key] == p }

// carryOut sends what a path wants sent. What the system refuses is told to the
// path, which may want something else then; each round has fewer pings, because
// a path that failed is not pinged again at once.
func (c *Conn) carryOut(p *peer, now time.Time, out path.Output) {
	for _, ping := range out.Pings {
		err := c.ping(p, ping)
		switch {
		case err == nil, passing(err):
		case ping.Size > 0 && (udp.TooLarge(err) || errors.Is(err, errors.ErrUnsupported)):
			c.carryOut(p, now, p.path.TooBig(now, ping.To, ping.Size))
		default:
			c.carryOut(p, now, p.path.SendFailed(now, ping.To))
		}
	}
	if out.CallMeMaybe {
		c.call(p) // behind the pings, which open our NAT for the answer
	}
}

// passing reports whether an error says nothing about the way that the packet
// would have taken.
func passing(err error) bool {
	return udp.Congested(err) || errors.Is(err, net.ErrClosed) // of a side socket that a sender still used
}

func (c *Conn) ping(p *peer, ping path.Ping) error {
	u := c.socketTo(p, ping.To)
	if u == nil {
		return syscall.ENETUNREACH
	}
	return c.pingBy(u, p, ping)
}

func (c *Conn) pingBy(u *udp.Conn, p *peer, ping path.Ping) error {
	message := disco.Ping{TxID: ping.TxID, NodeKey: c.node, Padding: ping.Padding()}
	packet := disco.Seal(nil, c.discoPublic, p.sharedWith(c.disco), message)
	if ping.Size > 0 {
		return u.WriteWhole(packet, ping.To)
	}
	return u.WriteBatch([][]byte{packet}, ping.To)
}

// callMeMaybe asks a peer to ping our endpoints. Our pings have just opened our
// NAT for its answer. It goes through the relay, which is the way that is known.
func (c *Conn) callMeMaybe(p *peer) {
	var message disco.CallMeMaybe
	for _, e := range c.Local().Endpoints {
		message.Endpoints = append(message.Endpoints, e.Addr)
	}
	c.sendRelayedDisco(p, c.relayOf(p), message)
}

// tellEndpoints lets a peer's path know what the coordinator says, if that is
// news. Peers without disco have no path.
func (c *Conn) tellEndpoints(p *peer) {
	if p.ways == nil || p.disco.IsZero() || slices.Equal(p.endpoints, p.named) {
		return
	}
	p.endpoints = p.named
	c.happened(p, func(path *path.Peer, now time.Time) path.Output {
		return path.SetCandidates(now, p.endpoints)
	})
}

// forget ends everything for a peer that is none any more.
func (c *Conn) forget(p *peer) {
	p.route.Store(nowhere)
	c.addrs.forget(p)
	c.closeSidesOf(p)
	c.schedule.set(p, time.Time{})
	c.setMTU(p, 0)
	c.agreeing.set(p, false)
}

// handleFailure acts on packets that could not be sent.
func (c *Conn) handleFailure(f failure) {
	if passing(f.err) {
		return
	}
	c.log.Debug("sending fails", "peer", f.peer.key.Short(), "to", f.to, "size", f.size, "err", f.err)
	c.happened(f.peer, func(p *path.Peer, now time.Time) path.Output {
		if udp.TooLarge(f.err) {
			return p.TooBig(now, f.to, f.size)
		}
		return p.SendFailed(now, f.to)
	})
}

// handleWake acts on packets that were sent to a peer.
func (c *Conn) handleWake(p *peer) {
	if p.sent.Load() != sentNothing {
		c.happened(p, (*path.Peer).Tick)
	}
}

// lookAtPaths looks at the paths that are due.
func (c *Conn) lookAtPaths() {
	for now := time.Now(); ; {
		p := c.schedule.take(now)
		if p == nil {
			break
		}
		c.happened(p, (*path.Peer).Tick)
	}
	c.schedule.setAlarm()
}

// routeTo stores the best way to a peer for those who send.
func (c *Conn) routeTo(p *peer) {
	way := p.way()
	next := route{direct: way.Direct, mtu: way.MTU, spare: c.relayOf(p), wake: way.Wake}
	if way.Relay {
		next.region = next.spare
	}
	if way.Direct.IsValid() && p.side != nil && p.side.peer == way.Direct {
		next.by = p.side.forData()
	}
	if c.sockets.none() {
		next.wake = math.MaxInt // there is nothing to do about paths
	}
	before := p.route.Load()
	if *before == next {
		return
	}
	if before.direct != next.direct {
		c.log.Debug("the path to a peer changes", "peer", p.key.Short(), "from", before.direct, "to", next.direct)
	}
	if *c.lastRoute != next { // of a large mesh most peers have the same
		fresh := next
		c.lastRoute = &fresh
	}
	p.route.Store(c.lastRoute)
	c.setMTU(p, next.mtu)
	if !before.direct.IsValid() && next.direct.IsValid() {
		c.repeatInitiation(p, c.lastRoute)
	}
}

// relayOf returns the region to reach a peer through, or 0.
func (c *Conn) relayOf(p *peer) int {
	known := func(region int) bool { return c.underlay.regions[region] }
	return p.place.region(known, c.relays.Connected, c.underlay.home)
}

// NetworkChanged says that the host's addresses or routes are others now, or
// that they may be: what was found out about the network and about paths is
// looked at anew.
func (c *Conn) NetworkChanged() {
	c.do(func() {
		c.relays.Check()
		c.setNetwork()
		for _, p := range *c.peers.Load() {
			if p.ways == nil {
				continue
			}
			c.closeSidesOf(p)
			p.search.plan.NetworkChanged()
			c.happened(p, (*path.Peer).NetworkChanged)
		}
	})
}
