package socks5

import (
	"container/list"
	"net/netip"
	"time"
)

const (
	// flowLife is how long a flow outlives its last datagram: the least that
	// RFC 4787, section 4.3, allows for the mappings of a NAT.
	flowLife = 2 * time.Minute
	// refusedLife is how long a refused target stays refused before it is
	// asked for again.
	refusedLife = 10 * time.Second
	// maxFlows is how many flows an association has. The one that was not used
	// for longest makes room for a new one.
	maxFlows = 1024
	// maxHeld bounds the bytes of all datagrams that wait for their targets.
	maxHeld = 128 << 10
	// heldOverhead is what a held datagram costs beside its bytes, so that
	// empty ones are bounded too.
	heldOverhead = 64
)

// A flowState says what becomes of a client's datagrams to a target.
//
//	unasked   nothing is known: only replies from there have been expected
//	asking    held until it is known whether and where they may go
//	open      sent
//	refused   dropped for a while, then unasked
type flowState uint8

const (
	unasked flowState = iota
	asking
	open
	refused
)

// flows are the targets of an association. A target is known by its bytes in a
// datagram, ATYP to DST.PORT: a name and its address are two targets, which are
// allowed or refused for themselves; replies come from the address. flows
// reads no clock, and is not safe for concurrent use.
type flows struct {
	byTarget map[string]*flow
	recent   list.List // of *flow, the last used first
	held     int       // bytes of all flows
}

type flow struct {
	target  string
	state   flowState
	to      netip.AddrPort // where datagrams go, when open
	replies bool           // a datagram was sent to this address: what it replies is passed on
	held    [][]byte       // when asking
	until   time.Time      // when refused
	used    time.Time
	place   *list.Element
}

// use returns the flow of a target to which the client sends now, made when
// there is none.
func (f *flows) use(target []byte, now time.Time) *flow {
	fl := f.lookup(target, now)
	if fl == nil {
		fl = f.add(string(target), now)
	}
	if fl.state == refused && !now.Before(fl.until) {
		fl.state = unasked
	}
	f.touch(fl, now)
	return fl
}

// hold keeps a copy of a datagram of a flow in the state asking, or drops it
// when there is no room.
func (f *flows) hold(fl *flow, data []byte) {
	if f.held+len(data)+heldOverhead > maxHeld {
		return
	}
	f.held += len(data) + heldOverhead
	fl.held = append(fl.held, append([]byte(nil), data...))
}

// settle ends the state asking: the flow is open towards to or, when that is
// invalid, refused. It returns the datagrams that were held.
func (f *flows) settle(target string, to netip.AddrPort, now time.Time) [][]byte {
	fl := f.byTarget[target]
	if fl == nil || fl.state != asking {
		return nil // it had to make room
	}
	held := f.release(fl)
	f.touch(fl, now)
	fl.state, fl.to = open, to
	if !to.IsValid() {
		fl.state, fl.until = refused, now.Add(refusedLife)
	}
	return held
}

// sent notes that a datagram goes to an address now, so that replies are passed
// on.
func (f *flows) sent(to netip.AddrPort, now time.Time) {
	var buf [maxHeader]byte
	wire := appendAddress(buf[:0], to)
	fl := f.lookup(wire, now)
	if fl == nil {
		fl = f.add(string(wire), now)
	}
	fl.replies = true
	f.touch(fl, now)
}

// expects reports whether a datagram from an address, given as it stands in a
// datagram, is a reply.
func (f *flows) expects(from []byte, now time.Time) bool {
	fl := f.lookup(from, now)
	if fl == nil || !fl.replies {
		return false
	}
	f.touch(fl, now)
	return true
}

// lookup does not allocate.
func (f *flows) lookup(target []byte, now time.Time) *flow {
	fl := f.byTarget[string(target)]
	if fl == nil {
		return nil
	}
	if now.Sub(fl.used) >= flowLife {
		f.remove(fl)
		return nil
	}
	return fl
}

func (f *flows) add(target string, now time.Time) *flow {
	if f.byTarget == nil {
		f.byTarget = make(map[string]*flow)
	}
	for oldest := f.recent.Back(); oldest != nil && now.Sub(oldest.Value.(*flow).used) >= flowLife; oldest = f.recent.Back() {
		f.remove(oldest.Value.(*flow))
	}
	if len(f.byTarget) >= maxFlows {
		f.remove(f.recent.Back().Value.(*flow))
	}
	fl := &flow{target: target, used: now}
	fl.place = f.recent.PushFront(fl)
	f.byTarget[target] = fl
	return fl
}

func (f *flows) remove(fl *flow) {
	f.release(fl)
	f.recent.Remove(fl.place)
	delete(f.byTarget, fl.target)
}

func (f *flows) release(fl *flow) (held [][]byte) {
	for _, data := range fl.held {
		f.held -= len(data) + heldOverhead
	}
	held, fl.held = fl.held, nil
	return held
}

func (f *flows) touch(fl *flow, now time.Time) {
	fl.used = now
	f.recent.MoveToFront(fl.place)
}
