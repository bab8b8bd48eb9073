package magicsock

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/netcheck"
	"github.com/meshnet-go/meshnet/internal/path"
)

// Meshnet nodes recognise each other by a disco.Hello through the relay: each
// says it to a peer that it begins to use, and asks for one in return if it has
// not heard any. Other nodes do not answer.

const (
	// helloTries is how often a hello is said that nobody answers: the relay
	// may lose one, or two.
	helloTries    = 3
	helloInterval = 5 * time.Second
	// answerInterval bounds how many hellos a peer can make us say.
	answerInterval = time.Second
)

// greeting is how far a peer and we have recognised each other.
type greeting struct {
	heard *disco.Hello // the peer's last; nil: it may be any kind of node
	tries int          // hellos that it did not answer
	next  time.Time    // no further one before
	// answered is when we last said one because it wanted that.
	answered time.Time
}

// due reports whether a hello is to be said to a peer in use, and takes it that
// it is.
func (g *greeting) due(now time.Time) bool {
	if g.heard != nil || g.tries == helloTries || now.Before(g.next) {
		return false
	}
	g.tries++
	g.next = now.Add(helloInterval)
	return true
}

// mayAnswer reports whether to answer a hello, and takes it that it is done.
func (g *greeting) mayAnswer(now time.Time) bool {
	if now.Sub(g.answered) < answerInterval {
		return false
	}
	g.answered = now
	return true
}

// greet says hello to a peer if it is time.
func (c *Conn) greet(p *peer, now time.Time) {
	if p.path.Active() && c.relayOf(p) != 0 && p.greeting.due(now) {
		c.sayHello(p, disco.Hello{Answer: true})
	}
}

// sayHello sends a hello, with what is to be said about us in every hello.
func (c *Conn) sayHello(p *peer, m disco.Hello) {
	m.NAT, m.Public = c.nat(), c.public()
	c.sendRelayedDisco(p, c.relayOf(p), m)
}

// handleHello acts on a peer's hello.
func (c *Conn) handleHello(p *peer, m disco.Hello) {
	now := time.Now()
	c.meet(p)
	p.greeting.heard = &m
	c.happened(p, func(path *path.Peer, now time.Time) path.Output { return path.SetMeshnet(now, true) })
	if m.Probe {
		c.beginSearch(p, now, m)
	}
	if m.Answer && p.greeting.mayAnswer(now) {
		c.sayHello(p, disco.Hello{Probe: p.search.plan.Running()})
	}
}

// nat returns the kind of NAT that we are behind.
func (c *Conn) nat() disco.NAT {
	switch {
	case c.underlay.report.MappingVaries == netcheck.Yes:
		return disco.HardNAT
	case c.underlay.report.MappingVaries == netcheck.No, len(c.underlay.report.Endpoints) > 0 && !c.behindNAT():
		return disco.EasyNAT
	}
	return disco.UnknownNAT
}

// maxPublic bounds the addresses in a hello.
const maxPublic = 8

// public returns where STUN servers saw us over IPv4, as there are NATs: behind
// a hard NAT the latest mappings, which show whether their ports follow a rule.
func (c *Conn) public() (addrs []netip.AddrPort) {
	if c.underlay.report.MappingVaries == netcheck.Yes {
		for _, m := range slices.Backward(c.underlay.check.Report().Mappings) {
			addrs = append(addrs, m.Addr)
		}
	} else {
		for _, e := range c.underlay.report.Endpoints {
			if e.Addr.Addr().Is4() {
				addrs = append(addrs, e.Addr)
			}
		}
	}
	return addrs[:min(len(addrs), maxPublic)]
}
