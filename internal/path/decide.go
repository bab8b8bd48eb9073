package path

import (
	"net/netip"
	"time"
)

// advance begins an event: what ended before it has ended.
func (p *Peer) advance(now time.Time) {
	if now.After(p.now) {
		p.now = now
	}
	for len(p.flights) > 0 && !p.now.Before(p.flights[0].timeout()) {
		p.unanswered(p.flights[0])
		p.flights = p.flights[1:]
	}
	if len(p.flights) == 0 {
		p.flights = nil // an idle peer keeps no room for them
	}
	if !p.trusted() {
		p.mtu.reset() // what is proven of a path is proven as long as it is trusted
	}
}

// decide ends an event: what is due is done, and the output is handed over.
func (p *Peer) decide() Output {
	p.substitute()
	p.doubt()
	if p.Active() {
		p.keepAlive()
		p.discover()
		p.probeMTU()
		p.call()
	} else {
		p.searching, p.callWanted = time.Time{}, false
	}
	out := p.out
	p.out = Output{}
	return out
}

// Active reports whether something was sent lately. Nothing is pinged of our
// own accord while it was not.
func (p *Peer) Active() bool { return p.now.Before(p.activeUntil) }

func (p *Peer) trusted() bool {
	return p.best.candidate != nil && p.now.Before(p.best.until)
}

// substitute puts another path that has answered lately in the place of one that
// is not trusted any more: the best of them, for as long as its pong is good. If
// trust ended by doubt, one that has answered since then is where the peer is,
// and the others may be where it was.
func (p *Peer) substitute() {
	if p.trusted() {
		return
	}
	preferred := func(a, b *candidate) bool {
		aIsThere, bIsThere := !a.answered.Before(p.best.doubted), !b.answered.Before(p.best.doubted)
		return aIsThere && !bIsThere || aIsThere == bIsThere && better(a, b)
	}
	var other *candidate
	for _, c := range p.candidates {
		if c != p.best.candidate && c.proven(p.now) && (other == nil || preferred(c, other)) {
			other = c
		}
	}
	if other == nil {
		return
	}
	if p.best.candidate != nil {
		p.best.forget()
	}
	p.take(other, other.latency)
}

// take makes data take the path to a candidate that has answered.
func (p *Peer) take(c *candidate, rtt time.Duration) {
	if c != p.best.candidate {
		p.best = best{candidate: c}
		p.mtu.reset()
	}
	p.best.until, p.best.rtt = c.answered.Add(trustTime), rtt
}

// keepAlive pings the best path when it is time.
func (p *Peer) keepAlive() {
	if due := p.heartbeatDue(); !due.IsZero() && !p.now.Before(due) {
		p.pingBest()
	}
}

// heartbeatDue returns when the best path is to be pinged. It is pinged when
// trust ends, out of turn: if that was only for lost pongs, trust is back after
// one round trip.
func (p *Peer) heartbeatDue() time.Time {
	if p.best.candidate == nil {
		return time.Time{}
	}
	due := p.best.pinged.Add(heartbeat)
	if p.best.pinged.Before(p.best.until) {
		due = earlier(due, p.best.until)
	}
	return due
}

// pingBest pings the best path, which is seldom enough not to be counted
// against the budget.
func (p *Peer) pingBest() {
	p.best.pinged = p.now
	p.ping(p.best.addr, 0)
}

// discover begins a round of discovery when it is time: all candidates are
// pinged, and the peer is called to ping ours, since our pings have opened our
// NAT for it. It is called even if we know no candidate, for it may reach us.
func (p *Peer) discover() {
	switch {
	case p.best.candidate != nil:
		p.searching, p.repeated = time.Time{}, len(repeats)
	case p.searching.IsZero():
		p.searching = p.now
	}
	p.repeatFirstRound()
	if due := p.roundDue(); due.IsZero() || p.now.Before(due) {
		return
	}
	if p.lastRound.IsZero() {
		p.firstRound, p.repeated = p.now, 0
	}
	p.lastRound = p.now
	p.prune()
	p.pingCandidates(func(c *candidate) bool {
		return c.pinged.IsZero() || p.now.Sub(c.pinged) >= roundInterval
	})
	p.callWanted = true
}

// repeats is when the pings of the first round are repeated. The coordinator
// tells the peer of us while it tells us of the peer, which drops the pings of
// strangers: what comes a little earlier would be missed for 5 s.
var repeats = [...]time.Duration{25 * time.Millisecond, 100 * time.Millisecond}

// repeatDue returns when to repeat the pings of the first round, or zero.
func (p *Peer) repeatDue() time.Time {
	if p.repeated == len(repeats) || p.firstRound.IsZero() || p.lastRound != p.firstRound {
		return time.Time{}
	}
	return p.firstRound.Add(repeats[p.repeated])
}

// repeatFirstRound pings again who was pinged in the first round, when that is
// due. It counts as one with that.
func (p *Peer) repeatFirstRound() {
	before := p.repeated
	for due := p.repeatDue(); !due.IsZero() && !p.now.Before(due); due = p.repeatDue() {
		p.repeated++
	}
	if p.repeated == before {
		return
	}
	for _, c := range p.candidates {
		if c.pinged.Equal(p.firstRound) && p.budget.take(p.now) {
			p.ping(c.addr, 0)
		}
	}
}

func (p *Peer) roundDue() time.Time {
	switch {
	case p.lastRound.IsZero():
		return p.now
	case !p.trusted():
		return p.lastRound.Add(roundInterval)
	case p.best.latency <= goodLatency:
		return time.Time{}
	}
	return p.lastRound.Add(betterInterval)
}

// call sends the call-me-maybe that is wanted, as soon as it may.
func (p *Peer) call() {
	if p.callWanted && (p.lastCall.IsZero() || p.now.Sub(p.lastCall) >= callInterval) {
		p.callWanted, p.lastCall = false, p.now
		p.out.CallMeMaybe = true
	}
}

// pingCandidates pings those that are wanted, as far as the budget goes.
func (p *Peer) pingCandidates(wanted func(*candidate) bool) {
	for _, c := range p.candidates {
		if wanted(c) && p.budget.take(p.now) {
			c.pinged = p.now
			p.ping(c.addr, 0)
		}
	}
}

// pingBack pings a candidate that we were pinged from: the peer's NAT is open
// for us now, which it may not have been when we last tried. Were we to wait
// for the next round, up to 5 s would be lost, as they are with Tailscale. It is
// done once in a round, so that two nodes do not do it to each other for ever;
// not on a path that is proven; and not while we have nothing to send.
func (p *Peer) pingBack(c *candidate) {
	again := !c.pingedBack.IsZero() && p.now.Sub(c.pingedBack) < roundInterval
	if !p.Active() || c.proven(p.now) || again || c.pinged.Equal(p.now) || !p.budget.take(p.now) {
		return
	}
	c.pinged, c.pingedBack = p.now, p.now
	p.ping(c.addr, 0)
}

// ping sends a ping of a size, which is 0 if that does not matter.
func (p *Peer) ping(to netip.AddrPort, size int) {
	tx := newTxID()
	p.flights.add(flight{tx: tx, to: to, at: p.now, size: size})
	p.out.Pings = append(p.out.Pings, Ping{To: to, TxID: tx, Size: size})
}

// answered acts on the pong to a ping, by the path that the ping took.
func (p *Peer) answered(f flight) {
	c := p.candidates.learn(f.to, p.now, p.best.candidate)
	if c == nil {
		return
	}
	c.heard, c.answered = p.now, p.now
	rtt := p.now.Sub(f.at)
	if f.size == 0 {
		c.latency = rtt // the larger ones would have it look worse
	}
	// A better path has just been proven in both directions, so nothing is lost
	// when data changes to it.
	if c == p.best.candidate || !p.trusted() || better(c, p.best.candidate) {
		p.take(c, rtt)
	}
	if c == p.best.candidate && f.size != 0 {
		p.mtu.answered(f.size, f.at)
	}
}

// unanswered acts on a ping without a pong. A path that was not trusted any
// more when it was pinged has had its last chance.
func (p *Peer) unanswered(f flight) {
	if p.best.candidate != nil && f.to == p.best.addr && f.size == 0 && !f.at.Before(p.best.until) {
		p.best.forget()
		p.abandon()
	}
}

// movedTo reports whether the peer, which pings from c, may have left the best
// path for it: it has not been heard there for long, or twice since it was heard
// on the best path, to which it may have gone and come back.
func (p *Peer) movedTo(c *candidate) bool {
	long := c.heard.IsZero() || p.now.Sub(c.heard) > trustTime
	return long || p.best.candidate != nil && c.heard.After(p.best.heard)
}

// doubt has a suspect path answer at once, or lose our trust until it does, and
// asks those where the peer was heard later whether they take its place. It
// is suspect when there is a sign that the peer has moved: it pings from where
// it was not before, or calls, or begins a handshake through the relay, which it
// does when it has no path to us. Data
// would else go to where nobody is for up to 6.5 s. A sign that comes too soon
// after another is not forgotten but waits, since a network that changes may
// change again.
func (p *Peer) doubt() {
	p.best.suspect = p.best.suspect && p.trusted()
	if !p.best.suspect || p.now.Sub(p.best.doubted) < doubtInterval {
		return
	}
	p.best.suspect, p.best.doubted = false, p.now
	if !p.best.pinged.Equal(p.now) {
		p.pingBest()
	}
	p.pingCandidates(func(c *candidate) bool { return c.heard.After(p.best.heard) && !c.pinged.Equal(p.now) })
	p.best.until = earlier(p.best.until, p.now.Add(p.best.patience()))
}

// doubtInterval bounds how often others can make us ping the best path.
const doubtInterval = time.Second

// patience is how long the pong to a ping is awaited when the answer is
// urgent: two round trips, and some for whatever else the machines do.
func (b *best) patience() time.Duration { return 2*b.rtt + 100*time.Millisecond }

// fail forgets that there is a path to an address. It remains a candidate, to
// be pinged in the next round.
func (p *Peer) fail(addr netip.AddrPort) {
	p.flights.drop(addr)
	if c := p.candidates.find(addr); c != nil {
		c.forget()
	}
	if p.best.candidate != nil && p.best.addr == addr {
		p.abandon()
	}
}

// abandon leaves the peer without a path.
func (p *Peer) abandon() {
	p.best = best{}
	p.mtu.reset()
}

// prune drops the candidates that nobody speaks of any more. The path that data
// takes stays while it is trusted: that an address is not listed does not make
// it worse.
func (p *Peer) prune() {
	var keep *candidate
	if p.trusted() {
		keep = p.best.candidate
	}
	p.candidates.prune(p.now, keep)
	if p.best.candidate != nil && p.candidates.find(p.best.addr) == nil {
		p.abandon()
	}
}
