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
	defer c.stopAlarms()
	for {
		select {
		case <-c.ctx.Done():
			return
		case call := <-c.inbox.calls:
			call()
		case packet := <-c.inbox.messages:
			c.handleDisco(packet)
		case h := <-c.inbox.hearings:
			c.handleHearing(h)
		case packet := <-c.inbox.strangers:
			c.handleEarly(packet)
		case x := <-c.inbox.crossings:
			c.handleCrossed(x)
		case i := <-c.inbox.initiations:
			c.handleInitiation(i)
		case <-c.held.alarm.C:
			c.endCrossings()
		case b := <-c.inbox.beginnings:
			c.handleBeginning(b)
		case <-c.agreeing.alarm.C:
			c.lookAtAgreements()
		case p := <-c.inbox.wakes:
			c.handleWake(p)
		case f := <-c.inbox.failures:
			c.handleFailure(f)
		case <-c.schedule.alarm.C:
			c.lookAtPaths()
		case a := <-c.inbox.answers:
			c.handleAnswer(a)
		case <-c.underlay.alarm.C:
			c.checked()
		case <-c.callers.alarm.C:
			c.sendCalls()
		case <-c.relays.Changed():
			c.relaysChanged()
		case <-c.fresh.alarm.C:
			c.forgetSilent()
		}
	}
}

func (c *Conn) stopAlarms() {
	for _, a := range [...]alarm{c.underlay.alarm, c.schedule.alarm, c.callers.alarm, c.fresh.alarm, c.held.alarm, c.agreeing.alarm} {
		a.Stop()
	}
}

// do has the loop call f, and returns when it has.
func (c *Conn) do(f func()) {
	done := make(chan struct{})
	select {
	case c.inbox.calls <- func() { f(); close(done) }:
		<-done
	case <-c.stopped:
	}
}

// publish lets the parent see what changed of us.
func (c *Conn) publish() {
	local := Local{
		HomeDERP:  c.underlay.home,
		Connected: c.underlay.home != 0 && c.relays.Connected(c.underlay.home),
		Endpoints: c.endpoints(),
		MTU:       c.mtus,
		BehindNAT: c.behindNAT(),
		NetInfo:   c.underlay.netInfo,
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

// fresh is whether a peer's place is that.
type fresh struct {
	any   bool
	alarm alarm // runs when there is one
}

// handleHearing notes where a peer is heard.
func (c *Conn) handleHearing(h hearing) {
	if (*c.peers.Load())[h.peer.key] != h.peer {
		return // no peer any more
	}
	if !c.fresh.any {
		c.fresh.any = true
		c.fresh.alarm.Reset(freshTime)
	}
	h.peer.place.last, h.peer.place.fresh = h.region, true
	c.routeTo(h.peer)
}

// forgetSilent ends the trust in where peers were heard who have been silent
// since the last time.
func (c *Conn) forgetSilent() {
	c.fresh.any = false
	for _, p := range *c.peers.Load() {
		if !p.place.fresh {
			continue
		}
		p.place.fresh = p.heard.Swap(0) != 0
		c.fresh.any = c.fresh.any || p.place.fresh
		c.routeTo(p)
	}
	if c.fresh.any {
		c.fresh.alarm.Reset(freshTime)
	}
}
