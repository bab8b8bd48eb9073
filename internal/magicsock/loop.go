package magicsock

import (
	"time"
)

// freshTime is how often the loop looks whether peers are still heard through
// the regions they were heard through. A node keeps a relay connection, other
// than to its home, for 60 s after it last wrote to it; a peer that was silent
// for one such interval, and at most two, is certainly still there.
const freshTime = 25 * time.Second

// loop is the goroutine that decides. It owns what the comments in Conn and
// peer say it owns.
func (c *Conn) loop() {
	defer close(c.stopped)
	defer c.closeSides()
	defer c.checkTimer.Stop()
	defer c.callTimer.Stop()
	defer c.freshTimer.Stop()
	defer c.pathTimer.Stop()
	defer c.crossTimer.Stop()
	defer c.agreeTimer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case call := <-c.calls:
			call()
		case packet := <-c.messages:
			c.handleDisco(packet)
		case h := <-c.hearings:
			c.handleHearing(h)
		case packet := <-c.strangers:
			c.handleEarly(packet)
		case x := <-c.crossings:
			c.handleCrossed(x)
		case i := <-c.initiations:
			c.handleInitiation(i)
		case <-c.crossTimer.C:
			c.endCrossings()
		case b := <-c.beginnings:
			c.handleBeginning(b)
		case <-c.agreeTimer.C:
			c.lookAtAgreements()
		case p := <-c.wakes:
			c.handleWake(p)
		case f := <-c.failures:
			c.handleFailure(f)
		case <-c.pathTimer.C:
			c.lookAtPaths()
		case a := <-c.answers:
			c.handleAnswer(a)
		case <-c.checkTimer.C:
			c.checked()
		case <-c.callTimer.C:
			c.sendCalls()
		case <-c.relays.Changed():
			c.relaysChanged()
		case <-c.freshTimer.C:
			c.forgetSilent()
		}
	}
}

// do has the loop call f, and returns when it has.
func (c *Conn) do(f func()) {
	done := make(chan struct{})
	select {
	case c.calls <- func() { f(); close(done) }:
		<-done
	case <-c.stopped:
	}
}

// publish lets the parent see what changed of us.
func (c *Conn) publish() {
	local := Local{
		HomeDERP:  c.home,
		Connected: c.home != 0 && c.relays.Connected(c.home),
		Endpoints: c.endpoints(),
		MTU:       c.mtus,
		BehindNAT: c.behindNAT(),
		NetInfo:   c.netInfo,
	}
	if local.equal(c.Local()) {
		return
	}
	c.local.Store(&local)
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *Conn) routeAll() {
	for _, p := range *c.peers.Load() {
		c.routeTo(p)
	}
}

// handleHearing notes where a peer is heard.
func (c *Conn) handleHearing(h hearing) {
	if (*c.peers.Load())[h.peer.key] != h.peer {
		return // no peer any more
	}
	if !c.anyFresh {
		c.anyFresh = true
		c.freshTimer.Reset(freshTime)
	}
	h.peer.place.last, h.peer.place.fresh = h.region, true
	c.routeTo(h.peer)
}

// forgetSilent ends the trust in where peers were heard who have been silent
// since the last time.
func (c *Conn) forgetSilent() {
	c.anyFresh = false
	for _, p := range *c.peers.Load() {
		if !p.place.fresh {
			continue
		}
		p.place.fresh = p.heard.Swap(0) != 0
		c.anyFresh = c.anyFresh || p.place.fresh
		c.routeTo(p)
	}
	if c.anyFresh {
		c.freshTimer.Reset(freshTime)
	}
}
