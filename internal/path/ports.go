package path

import (
	"net/netip"
	"slices"
	"time"
)

// ProbeSockets is how many sockets the side of a [PortProbing] with the hard
// NAT opens.
const ProbeSockets = 256

// A hard NAT gives every destination another port, so that nobody knows the one
// that it gives the way to us, and an easy NAT lets in only what comes from
// where we sent to. With one socket and one guess the odds are 1 in 64,512. But
// the hard side can have 256 sockets, each with a port of its own towards us,
// and the easy side can send a ping to any number of ports: each has a chance
// of 1 in 252, and after 10 s one pair in 200 is left that has not met, after 20 s
// none in 100,000.
//
// The side with the hard NAT sends from all its sockets in turn, which opens its
// NAT. Then it goes on more slowly, which keeps it open, and asks again when a ping
// has got through but its pong has not: from now on guesses are what counts. The
// other one goes through the ports in an order that is random but never comes back
// to the same port. Where the hard NAT gives out ports in sequence, every other
// guess is near those that were seen.
//
// Together they send 180 packets a second, in small portions, for 20 s at most.
const (
	probeTime  = 20 * time.Second
	probePause = 50 * time.Millisecond

	// While sockets are opened, 120 and 60 a second; afterwards 20 and 160.
	openedFirst, openedThen   = 6, 1
	guessedFirst, guessedThen = 3, 8
	guessesFirst              = ProbeSockets / openedFirst * guessedFirst

	// After a vain attempt: NATs do not change by themselves.
	firstProbeBackoff = time.Minute
	maxProbeBackoff   = 32 * time.Minute
)

// Side is the part of a node in a [PortProbing].
type Side int

const (
	// HardSide has a NAT whose ports nobody knows.
	HardSide Side = iota
	// EasySide has a NAT, or none, whose port is known.
	EasySide
)

// PortProbing is the plan by which a node behind an easy NAT and one behind a
// hard NAT find a path. Both are meshnet nodes, and follow it at the same time.
// It is for peers whose [Peer.Stuck] reports true. Like a Peer it belongs to one
// goroutine, and the zero PortProbing is ready to start.
type PortProbing struct {
	attempts int       // in vain, since the last success
	again    time.Time // no new attempt before

	// Of the attempt under way.
	end   time.Time // zero: there is none
	next  time.Time
	side  Side
	to    netip.AddrPort
	sent  int
	ports portOrder
}

// PortProbe is a disco ping to send, by way of [Peer.Probe].
type PortProbe struct {
	// Socket is the number of the socket to send from, opened at need: 0 to
	// ProbeSockets-1 on the hard side, or -1 for the ordinary one on the easy
	// side.
	Socket int
	To     netip.AddrPort
}

// Start begins an attempt, unless one is under way or the last was too short a
// time ago. On the hard side, to is the known endpoint of the easy side. On the
// easy side, it is the public address of the hard side, and seen are the ports
// at which that was observed; to's port is one of them or 0. Seed is random.
func (b *PortProbing) Start(now time.Time, side Side, to netip.AddrPort, seen []uint16, seed uint64) bool {
	valid := to.Addr().IsValid() && usable(netip.AddrPortFrom(to.Addr(), max(1, to.Port())))
	if !valid || side == HardSide && to.Port() == 0 || !b.Ready(now) {
		return false
	}
	b.end, b.next = now.Add(probeTime), now
	b.side, b.to, b.sent = side, to, 0
	b.ports = newPortOrder(seen, seed)
	return true
}

// Ready reports whether Start would begin an attempt now.
func (b *PortProbing) Ready(now time.Time) bool { return b.end.IsZero() && !now.Before(b.again) }

// Running reports whether an attempt is under way. When it is not any more, the
// hard side closes all sockets but the one that a path was found by.
func (b *PortProbing) Running() bool { return !b.end.IsZero() }

// Tick returns what to send now.
func (b *PortProbing) Tick(now time.Time) []PortProbe {
	if b.end.IsZero() || now.Before(b.next) {
		return nil
	}
	if !now.Before(b.end) {
		b.Stop(now, false)
		return nil
	}
	b.next = earlier(now.Add(probePause), b.end) // what is late is not made up for
	if b.side == HardSide {
		return b.open()
	}
	return b.guess()
}

func (b *PortProbing) open() []PortProbe {
	n := openedThen
	if b.sent < ProbeSockets {
		n = openedFirst
	}
	probes := make([]PortProbe, n)
	for i := range probes {
		probes[i] = PortProbe{Socket: b.sent % ProbeSockets, To: b.to}
		b.sent++
	}
	return probes
}

func (b *PortProbing) guess() []PortProbe {
	n := guessedThen
	if b.sent < guessesFirst {
		n = guessedFirst
	}
	probes := make([]PortProbe, n)
	for i := range probes {
		probes[i] = PortProbe{Socket: -1, To: netip.AddrPortFrom(b.to.Addr(), b.ports.at(b.sent))}
		b.sent++
	}
	return probes
}

// Deadline returns when to call Tick, or zero while no attempt is under way.
func (b *PortProbing) Deadline() time.Time {
	if b.end.IsZero() {
		return time.Time{}
	}
	return b.next
}

// Stop ends an attempt: because there is a path now, or because the peer is
// not in use or not there any more.
func (b *PortProbing) Stop(now time.Time, found bool) {
	switch {
	case b.end.IsZero():
		return
	case found:
		b.attempts, b.again = 0, time.Time{}
	default:
		b.again = now.Add(min(firstProbeBackoff<<min(b.attempts, 16), maxProbeBackoff))
		b.attempts++
	}
	b.end = time.Time{}
}

// NetworkChanged says that we, or the peer, are behind another NAT now: what
// was in vain may not be.
func (b *PortProbing) NetworkChanged() { *b = PortProbing{} }

// Ports below 1024 are given to nobody.
const (
	firstPort = 1024
	portCount = 1<<16 - firstPort // 2¹⁰·3²·7
)

// portOrder is the order in which ports are guessed.
type portOrder struct {
	// The i-th random port is start+i×step, where step has no divisor in common
	// with portCount, so that every port comes once. To ports that were chosen
	// at random, it is as good as random.
	start, step int
	// Sequential NATs: the range in which ports were seen.
	sequential bool
	low, high  int
}

// maxSpread is how far apart ports may be that were given in sequence: other
// traffic of the same NAT lies between them.
const maxSpread = 128

func newPortOrder(seen []uint16, seed uint64) portOrder {
	o := portOrder{start: int(seed % portCount), step: int(seed / portCount % portCount)}
	for o.step%2 == 0 || o.step%3 == 0 || o.step%7 == 0 {
		o.step++
	}
	if len(seen) == 0 {
		return o
	}
	o.low, o.high = int(slices.Min(seen)), int(slices.Max(seen))
	o.sequential = o.low >= firstPort && o.low != o.high && o.high-o.low <= maxSpread
	return o
}

// at returns the i-th port.
func (o portOrder) at(i int) uint16 {
	if !o.sequential {
		return o.random(i)
	}
	if i%2 == 0 {
		return o.near(i / 2)
	}
	return o.random(i / 2)
}

func (o portOrder) random(i int) uint16 {
	return uint16(firstPort + (o.start+i*o.step)%portCount)
}

// near returns ports above and below those that were seen, in turns. It goes in
// strides, for the hard side's ports lie close together: it is sooner among them
// though the sequence has gone on a good way, and comes back for the rest.
func (o portOrder) near(i int) uint16 {
	const reach, stride = 4096, 17
	distance := 1 + i/2*stride%reach
	port := o.high + distance
	if i%2 == 1 {
		port = o.low - distance
	}
	return uint16(firstPort + (port-firstPort+portCount)%portCount)
}
