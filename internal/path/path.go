// Package path decides, for one peer, which path data takes now, what to ping,
// and when to look again. It is told what happens, with the time, and answers
// with what to send: it has no clock, no socket and no goroutine.
//
//	Sent, HandlePing, HandlePong, …  ──►  Peer  ──►  Output    to send now
//	Tick, when the Deadline has come                 Route     what packets take from now on
//	                                                 Deadline  when to call Tick
//
// The state of the way to a peer, and what data does in it:
//
//	no path       the relay
//	   │ a pong
//	trusted       the best path alone: it has answered within 6.5 s
//	   │ no pong  ▲ a pong
//	doubtful      the best path and the relay, both
//	   │ a ping sent in this state is not answered for 5 s
//	no path
//
// A path is the address of the peer that packets go to. It counts from the
// first pong that answers a ping of ours by that very address: nothing that a
// peer says of its addresses, and no packet that only claims to come from one,
// moves data anywhere.
//
// While something is sent to the peer, the best path is pinged every 3 s, and
// candidates are looked for until there is a trusted path, and every minute for
// a better one. When nothing is sent for 45 s all that ends.
//
// Timings and scores are those of Tailscale's magicsock (v1.102.5), for which
// peers are made, except where a comment says why not.
//
// Apart from the [Peer], [PortProbing] is the plan for a pair of nodes whose
// NATs leave it no other way.
package path

import (
	"math"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
)

const (
	// activeTime is how long after the last packet a peer counts as in use.
	activeTime = 45 * time.Second
	// trustTime is how long after a pong a path is trusted: of two heartbeats
	// one may be lost.
	trustTime = 6500 * time.Millisecond
	// heartbeat is the time between pings on the best path.
	heartbeat = 3 * time.Second
	// roundInterval is the time between rounds of discovery while no path is
	// trusted, and between pings to any one candidate.
	roundInterval = 5 * time.Second
	// betterInterval is the time between rounds that look for a better path
	// than the trusted one.
	betterInterval = time.Minute
	// goodLatency is the latency of a path that needs no better one.
	goodLatency = 5 * time.Millisecond
	// stuckTime is how long discovery goes on before it counts as failed: two
	// rounds, the last of which has just gone out.
	stuckTime = roundInterval
)

// callInterval is the time between call-me-maybes at least. Each makes the peer
// ping all our endpoints, and one goes with every round of discovery. Rounds
// are further apart than this, except those that begin because something
// happened, and when a network changes things happen in quick succession: one
// interface goes, another comes. A call that comes too early is not forgotten
// but waits, since the later one names the better endpoints.
const callInterval = 2 * time.Second

// A Peer decides about the way to one peer. Its methods are called from one
// goroutine, with times that do not go back. All but Route, Deadline, Active
// and Stuck are events: after each the caller sends what is in the Output, reads the
// Route if it wants to know it, and takes care to call Tick at the Deadline.
//
// The zero Peer is not usable; see [New].
type Peer struct {
	now time.Time // of the latest event
	out Output    // what the event being handled has produced so far

	activeUntil time.Time
	candidates  candidates
	flights     flights
	budget      budget // for pings to candidates
	largeBudget budget // for those that search the MTU
	best        best
	relayed     time.Time // when the peer last began a handshake through a relay

	firstRound time.Time // of discovery, since the network changed
	repeated   int       // how often that was
	lastRound  time.Time // zero: begin at once
	searching  time.Time // since when it goes on without any path; zero: it does not
	callWanted bool
	lastCall   time.Time

	raiseMTU bool // if the peer allows
	mtu      mtu  // of the best path
}

// best is the path that data takes.
type best struct {
	*candidate               // of the table; nil: none
	until      time.Time     // when trust ends
	rtt        time.Duration // of the latest pong, to a ping of any size
	suspect    bool          // whether it is to be doubted
	doubted    time.Time     // last
}

// Output is what to send after an event.
type Output struct {
	// Pings are to be sent at once.
	Pings []Ping
	// CallMeMaybe asks for a call-me-maybe through the relay, with the endpoints
	// that our node has by now.
	CallMeMaybe bool
	// Answered tells that the event was a pong that answers a ping of ours, by
	// the path that the ping took: its source is the peer's, and what it says
	// about our own address can be believed as far as the peer can.
	Answered bool
}

// Ping is a disco ping to send.
type Ping struct {
	To   netip.AddrPort
	TxID disco.TxID
	// Size is how many bytes of UDP payload the whole packet shall have, and 0
	// when it need not be padded. A padded ping must not be fragmented on its
	// way; if the system refuses it for its size, say so to [Peer.TooBig].
	Size int
}

// barePing is the size of the packet with an unpadded disco ping.
const barePing = 124

// Padding returns [disco.Ping]'s field for the ping.
func (p Ping) Padding() int { return max(0, p.Size-barePing) }

// Route is the way that packets take until the next event. Routes are
// comparable.
type Route struct {
	// Direct is the address to send to, or zero when there is none.
	Direct netip.AddrPort
	// Relay asks to send through the relay, too, or only.
	Relay bool
	// MTU is the size in bytes of the largest WireGuard message to send: that
	// Direct is proven to carry, at least [BaseMTU], or [RelayMTU] where there is
	// only the relay. A larger one must go through the relay, whatever Relay says,
	// for it may have been made for another route.
	MTU int
	// Wake is the size of WireGuard messages beyond which the sender makes sure
	// that [Peer.Sent] is called at once. For others it is enough if that is
	// done before the next event.
	Wake int
}

// New returns a Peer without any path, to which nothing has been sent.
func New() *Peer {
	// What others tell us must not turn into a storm of pings, to them or to
	// somebody else, whatever it is. Candidates can be pinged a full table at
	// once, and then as much again every five seconds; the MTU can be searched
	// twice at once, and then every ten seconds. Honest peers come near neither.
	// Heartbeats and the like are few by themselves.
	return &Peer{
		budget:      budget{burst: 128, pause: 40 * time.Millisecond},
		largeBudget: budget{burst: 64, pause: 250 * time.Millisecond},
	}
}

// Sent says that WireGuard messages have been sent to the peer since the last
// call, and whether any was larger than [BaseMTU].
func (p *Peer) Sent(now time.Time, large bool) Output {
	p.advance(now)
	p.activeUntil = p.now.Add(activeTime)
	if large {
		p.mtu.watch.extend(p.now)
	}
	return p.decide()
}

// SetCandidates says which endpoints the coordinator has for the peer, in place
// of those before.
func (p *Peer) SetCandidates(now time.Time, endpoints []netip.AddrPort) Output {
	p.advance(now)
	p.candidates.replace(fromCoordinator, endpoints)
	p.prune()
	if p.Active() {
		p.pingCandidates(func(c *candidate) bool { return c.pinged.IsZero() })
	}
	return p.decide()
}

// HandleCallMeMaybe says that the peer called, and the endpoints that it named.
// They replace those of its last call.
func (p *Peer) HandleCallMeMaybe(now time.Time, endpoints []netip.AddrPort) Output {
	p.advance(now)
	p.candidates.replace(fromCall, endpoints)
	p.prune()
	// The peer has pinged us just now, so that its NAT lets our pings in, and
	// it waits for them: however lately we tried, and though we may have nothing
	// to send to it.
	p.pingCandidates(func(*candidate) bool { return true })
	p.best.suspect = true
	return p.decide()
}

// HandlePing says that a ping of the peer came by UDP from an address. The
// caller answers it.
func (p *Peer) HandlePing(now time.Time, from netip.AddrPort) Output {
	p.advance(now)
	c := p.candidates.learn(unmap(from), p.now, p.best.candidate)
	if c == nil {
		return p.decide()
	}
	if c != p.best.candidate && p.Active() && p.movedTo(c) {
		p.best.suspect = true
	}
	c.heard = p.now
	p.pingBack(c)
	return p.decide()
}

// HandleHandshake says that the peer has begun a WireGuard handshake through a
// relay: it does not know the best path, or no longer. Until that has answered,
// packets go through the relay as well: the first of a peer that has restarted
// is mostly a SYN, whose answer would come a second later if it was lost.
func (p *Peer) HandleHandshake(now time.Time) Output {
	p.advance(now)
	p.relayed = p.now
	p.best.suspect = true
	return p.decide()
}

// HandleInitiation says that the peer has begun a WireGuard handshake from an
// address that it has pinged us from. What it sends after our answer is to be
// answered, too, so the path is proven meanwhile.
func (p *Peer) HandleInitiation(now time.Time, from netip.AddrPort) Output {
	p.advance(now)
	p.activeUntil = p.now.Add(activeTime)
	if c := p.candidates.learn(unmap(from), p.now, p.best.candidate); c != nil {
		p.pingBack(c)
	}
	return p.decide()
}

// HandlePong says that a pong with a transaction came by UDP from an address.
// One that answers no ping of ours changes nothing.
func (p *Peer) HandlePong(now time.Time, from netip.AddrPort, tx disco.TxID) Output {
	p.advance(now)
	if f, ok := p.flights.take(tx, unmap(from)); ok {
		p.out.Answered = true
		p.answered(f)
	}
	return p.decide()
}

// SendFailed says that nothing can be sent to an address: no route, host
// unreachable, not permitted. The path is forgotten at once. A full queue is no
// such failure, and for a packet that is too large there is [Peer.TooBig].
func (p *Peer) SendFailed(now time.Time, to netip.AddrPort) Output {
	p.advance(now)
	p.fail(unmap(to))
	return p.decide()
}

// NetworkChanged says that our own addresses or routes are others now. What was
// found out about paths is forgotten, and discovery begins anew.
func (p *Peer) NetworkChanged(now time.Time) Output {
	p.advance(now)
	p.abandon()
	p.flights = nil
	p.lastRound, p.searching = time.Time{}, time.Time{}
	for _, c := range p.candidates {
		c.forget()
		c.pinged, c.pingedBack = time.Time{}, time.Time{}
	}
	return p.decide()
}

// Probe pings addresses where the peer may be found by luck, such as those of
// a [PortProbing]. The one that answers is a path like any other. Pings are in
// the order of the addresses.
func (p *Peer) Probe(now time.Time, to ...netip.AddrPort) Output {
	p.advance(now)
	for _, addr := range to {
		if addr = unmap(addr); usable(addr) {
			p.ping(addr, 0)
		}
	}
	return p.decide()
}

// Tick says that the deadline has come, or only what time it is.
func (p *Peer) Tick(now time.Time) Output {
	p.advance(now)
	return p.decide()
}

// Route returns the way to take from the latest event on.
func (p *Peer) Route() Route {
	r := Route{Relay: true, MTU: BaseMTU, Wake: math.MaxInt}
	switch {
	case p.best.candidate != nil:
		r.Direct = p.best.addr
		r.Relay = !p.trusted() || !p.best.answered.After(p.relayed)
		if !r.Relay {
			r.MTU = p.mtu.size()
		}
		if r.MTU > BaseMTU && !p.mtu.watch.on(p.now) {
			r.Wake = BaseMTU
		}
	case p.raiseMTU:
		r.MTU = RelayMTU
	}
	if !p.Active() {
		r.Wake = 0
	}
	return r
}

// Deadline returns when to call Tick if nothing happens before, or zero for
// never. It is later than the latest event.
func (p *Peer) Deadline() time.Time {
	var d time.Time
	if len(p.flights) > 0 {
		d = p.flights[0].timeout()
	}
	if p.trusted() {
		d = earlier(d, p.best.until)
		if p.best.suspect {
			d = earlier(d, p.best.doubted.Add(doubtInterval))
		}
	}
	if !p.Active() {
		return d
	}
	d = earlier(d, p.activeUntil)
	d = earlier(d, p.heartbeatDue())
	d = earlier(d, p.roundDue())
	d = earlier(d, p.repeatDue())
	if p.callWanted {
		d = earlier(d, p.lastCall.Add(callInterval))
	}
	if p.mayRaise() {
		d = earlier(d, p.mtu.deadline(p.now, p.best.patience()))
	}
	return d
}

// Stuck reports whether the peer is in use and all that is usually done to find
// a path has been done in vain.
func (p *Peer) Stuck() bool {
	return p.Active() && !p.searching.IsZero() && p.now.Sub(p.searching) >= stuckTime
}

// earlier returns the earlier of two times, of which zero stands for never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
