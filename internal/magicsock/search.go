package magicsock

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/netcheck"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/internal/udp"
)

// A search is our part of a path.PortProbing with a peer: one of us is behind a
// hard NAT, the other is not, and the ordinary way to a path has failed.
//
//	stuck ── Hello{Answer, Probe} ──►          the peer begins
//	begin ◄────────── Hello{Probe} ── relay
//	      ◄──────────── pings ──────►          until one is answered
//
// A node is in one search at a time, which bounds its sockets and what it
// sends. Peers take turns.

// askInterval is the time between the hellos that ask a peer to take part. One
// that is in another search does not answer.
const askInterval = 5 * time.Second

// search is the state of a peer's.
type search struct {
	plan    path.PortProbing
	asked   time.Time
	sockets map[int]*sideSocket // by number in the plan; on the side of the hard NAT
}

func (s *search) has(side *sideSocket) bool {
	for _, socket := range s.sockets {
		if socket == side {
			return true
		}
	}
	return false
}

// lookForSearch has a search begin if the peer needs one, and goes on with it.
func (c *Conn) lookForSearch(p *peer, now time.Time) {
	s := &p.search
	switch {
	case s.plan.Running() && p.path.Route().Direct.IsValid():
		c.endSearch(p, now, true)
	case s.plan.Running():
		c.probePorts(p, now)
	case c.wantsSearch(p, now):
		s.asked = now
		c.sayHello(p, disco.Hello{Answer: true, Probe: true})
	}
}

func (c *Conn) wantsSearch(p *peer, now time.Time) bool {
	if !c.canSearch() || p.greeting.heard == nil || !p.path.Stuck() || now.Sub(p.search.asked) < askInterval {
		return false
	}
	_, ok := side(c.nat(), p.greeting.heard.NAT)
	return ok && p.search.plan.Ready(now)
}

// canSearch reports whether we could take part in a search now.
func (c *Conn) canSearch() bool {
	return c.searching == nil && c.moreSockets != nil && c.sockets.v4 != nil && c.underlay.report.UDP != netcheck.No
}

// side returns the part of a node in a search, and whether there can be one:
// one side must have the harder NAT, and the other not a hard one.
func side(ours, theirs disco.NAT) (path.Side, bool) {
	switch d := cmp.Compare(hardness(ours), hardness(theirs)); {
	case d > 0:
		return path.HardSide, true
	case d < 0:
		return path.EasySide, true
	}
	return 0, false
}

// hardness orders NATs. One that is not known to be easy is tried as a hard one
// if the other is easy, and as an easy one if the other is hard.
func hardness(nat disco.NAT) int {
	switch nat {
	case disco.EasyNAT:
		return 0
	case disco.HardNAT:
		return 2
	}
	return 1
}

// endRestarted ends what was for processes that have given way to others: of
// those that are peers, the ones that now have another disco key.
func (c *Conn) endRestarted(peers []Peer) {
	table := *c.peers.Load()
	for _, now := range peers {
		if p := table[now.Key]; p != nil && p.disco != now.Disco {
			c.closeSidesOf(p)
			if p.ways != nil {
				p.search = search{}
			}
			c.endAgreement(p)
		}
	}
}

// beginSearch takes part in a search that a peer asks for, if it needs one.
func (c *Conn) beginSearch(p *peer, now time.Time, theirs disco.Hello) {
	side, ok := side(c.nat(), theirs.NAT)
	if !ok || !c.canSearch() || !p.path.Active() || p.path.Route().Direct.IsValid() {
		return
	}
	to, seen := target(theirs.Public)
	if !p.search.plan.Start(now, side, to, seen, rand.Uint64()) {
		return
	}
	c.log.Debug("a search for a path by port probing begins", "peer", p.key.Short(), "to", to)
	c.searching = p
	p.dropSide()
	c.happened(p, (*path.Peer).Tick)
}

// target returns the public address to aim at, and the ports it was seen with.
func target(public []netip.AddrPort) (to netip.AddrPort, ports []uint16) {
	for _, addr := range public {
		if !addr.Addr().Is4() {
			continue
		}
		if !to.IsValid() {
			to = addr
		}
		if addr.Addr() == to.Addr() {
			ports = append(ports, addr.Port())
		}
	}
	return to, ports
}

// probePorts sends what is due of a search.
func (c *Conn) probePorts(p *peer, now time.Time) {
	probes := p.search.plan.Tick(now)
	addrs := make([]netip.AddrPort, len(probes))
	for i, probe := range probes {
		addrs[i] = probe.To
	}
	out := p.path.Probe(now, addrs...)
	for i, probe := range probes {
		u := c.sockets.v4
		if probe.Socket >= 0 {
			u = c.searchSocket(p, probe.Socket)
		}
		if u != nil { // what is not sent is a guess less
			c.pingBy(u, p, out.Pings[i])
		}
	}
	out.Pings = out.Pings[len(probes):]
	c.carryOut(p, now, out)
	if !p.search.plan.Running() {
		c.endSearch(p, now, false)
	}
}

// searchSocket returns the socket with a number in a search, or nil when the
// host does not give us another.
func (c *Conn) searchSocket(p *peer, number int) *udp.Conn {
	s := p.search.sockets[number]
	if s == nil {
		pc, err := c.moreSockets(context.Background(), "udp4", ":0")
		if err != nil {
			c.log.Debug("no socket for port probing", "err", err)
			return nil
		}
		s = c.openSide(pc)
		if p.search.sockets == nil {
			p.search.sockets = make(map[int]*sideSocket)
		}
		p.search.sockets[number] = s
	}
	return s.conn
}

// endSearch ends a search, and closes its sockets but for the one that the path
// found goes by.
func (c *Conn) endSearch(p *peer, now time.Time, found bool) {
	p.search.plan.Stop(now, found)
	for _, s := range p.search.sockets {
		if s != p.side {
			s.close()
		}
	}
	p.search.sockets = nil
	if c.searching == p {
		c.searching = nil
		c.log.Debug("a search for a path ends", "peer", p.key.Short(), "found", found)
	}
}
