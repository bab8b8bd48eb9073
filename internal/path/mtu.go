package path

import (
	"net/netip"
	"slices"
	"time"
)

// BaseMTU is the size in bytes of the largest WireGuard message that every path
// is taken to carry: a packet of 1,280 bytes in the tunnel, and the 32 that
// WireGuard adds. It is 1,360 bytes with the headers of IPv6 and UDP.
const BaseMTU = 1280 + 32

// RelayMTU is the size in bytes of the largest WireGuard message to a meshnet node
// through a relay. A relay carries eight times as much, but on a slow link others
// would wait long behind that, and it is most of what larger packets save.
const RelayMTU = 9000

// The path MTU is found by padded pings (RFC 8899 calls it packetization layer
// path MTU discovery), in the one direction in which we send; the peer finds its
// own. Sizes here are of the UDP payload.
//
// Search. Common sizes are tried from small to large, so that on most paths a
// single size is lost, and then halves between the largest that passed and the
// smallest that did not, until they are 3 % apart. A size has passed when two
// pings of it were answered, and it is used from then on; it has not when three
// were not, for one may be lost for other reasons. The search is done again
// after ten minutes, which is RFC 8899's time, from the size in use upwards.
//
// Watch. What matters is that a path that shrinks does not stall a connection
// for more than two seconds. Only messages larger than BaseMTU suffer, so only
// while such are sent the size in use is pinged, every 200 ms, and the first of
// them wakes us (Route.Wake). Three in a row without a pong, and the size falls
// to BaseMTU at once:
//
//	until the next ping       200 ms
//	until the third           400 ms
//	until that is overdue     100 ms + 2 round trips
//
// That is 0.7 s and two round trips after the path shrank. TCP in the tunnel
// retransmits after 0.2, 0.6 and 1.4 s, so that the third attempt finds the
// smaller size while the round trip is below 350 ms. It is not shorter because
// chance must not look like a smaller path: where one ping in ten is not
// answered, three in a row are not once in three minutes, and what that costs is
// ten seconds of smaller packets. The pings are 7 kB/s on a path of 1,500 bytes
// and 45 kB/s among jumbo frames, a trifle beside what needs such packets.
//
// Padding every other heartbeat instead would cost bytes when nobody sends large
// packets, and notice after ten seconds when somebody does.
const (
	probeTries    = 3
	probePongs    = 2
	watchTime     = time.Second // after the last large message
	watchInterval = 200 * time.Millisecond
	watchLosses   = 3
	raiseInterval = 10 * time.Minute
	shrinkPause   = 10 * time.Second // before the search after a fall, doubling
)

// frames are the sizes of IP packets that networks are built for: Ethernet, a
// cloud's transit gateways, two clouds' jumbo frames, loopback on macOS and, but
// for a little, on Linux. Nothing changes it.
var frames = []int{1500, 8500, 8896, 9001, 16384, 65000}

// largest returns the UDP payload of an IP packet of a size to an address.
func largest(frame int, to netip.Addr) int {
	const ipv4, ipv6, udp = 20, 40, 8
	if to.Is4() {
		return frame - ipv4 - udp
	}
	return frame - ipv6 - udp
}

// mtu is what is known of the sizes that the best path carries. The zero mtu
// knows nothing.
type mtu struct {
	proven int // 0: nothing beyond BaseMTU
	search search
	watch  watch
	falls  int // since the path was chosen
}

func (m *mtu) reset() { *m = mtu{} }

func (m *mtu) size() int { return max(m.proven, BaseMTU) }

// SetMeshnet says whether the peer is a meshnet node, which is made for packets
// larger than 1,280 bytes in the tunnel where paths carry them. Of others it is
// not known what they take.
func (p *Peer) SetMeshnet(now time.Time, is bool) Output {
	p.advance(now)
	p.raiseMTU = is
	if !is {
		p.mtu.reset()
	}
	return p.decide()
}

// TooBig says that the system would not send a packet of size bytes of UDP
// payload to an address because of its size.
func (p *Peer) TooBig(now time.Time, to netip.AddrPort, size int) Output {
	p.advance(now)
	switch to = unmap(to); {
	case size <= BaseMTU:
		p.fail(to) // a path that does not carry the least is none
	case p.best.candidate != nil && p.best.addr == to:
		p.mtu.tooBig(p.now, size)
	}
	return p.decide()
}

// mayRaise reports whether there is a path whose MTU matters.
func (p *Peer) mayRaise() bool { return p.raiseMTU && p.trusted() }

// probeMTU sends the padded pings that are due.
func (p *Peer) probeMTU() {
	if !p.mayRaise() {
		return
	}
	patience := p.best.patience()
	if p.mtu.watch.lost(p.now, patience) {
		p.mtu.fall(p.now)
	}
	size := p.mtu.search.next(p.now, patience, p.mtu.size(), p.best.addr.Addr())
	if size != 0 && p.largeBudget.take(p.now) { // else it counts as lost
		p.ping(p.best.addr, size)
	}
	if p.mtu.watch.due(p.now, p.mtu.proven) {
		p.mtu.watch.sent = append(p.mtu.watch.sent, p.now)
		p.mtu.watch.last = p.now
		p.ping(p.best.addr, p.mtu.proven)
	}
}

// answered says that a ping of a size, sent at a time, was answered.
func (m *mtu) answered(size int, sent time.Time) {
	if size >= m.proven {
		m.watch.answered(sent)
	}
	if m.search.answered(size) {
		m.proven = size
		m.watch.sent = nil // they were about another size
	}
}

// fall goes back to the base, for now.
func (m *mtu) fall(now time.Time) {
	again := min(shrinkPause<<min(m.falls, 16), raiseInterval)
	*m = mtu{falls: m.falls + 1, search: search{again: now.Add(again)}}
}

func (m *mtu) tooBig(now time.Time, size int) {
	if size <= m.proven {
		m.fall(now)
	} else {
		m.search.failedAt(size)
	}
}

// deadline returns when pings may be due; later than now.
func (m *mtu) deadline(now time.Time, patience time.Duration) time.Time {
	return earlier(m.search.deadline(patience), m.watch.deadline(now, m.proven, patience))
}

// search looks for the largest size that passes. The zero search is about to
// begin.
type search struct {
	size   int       // under test; 0: none
	sent   time.Time // last ping of it; zero: send one now
	tries  int       // pings since its last pong
	pongs  int
	failed int       // smallest size that did not pass; 0: none
	again  time.Time // when the next search begins
}

// next returns the size to ping now, or 0.
func (s *search) next(now time.Time, patience time.Duration, proven int, to netip.Addr) int {
	if s.size != 0 && s.tries == probeTries && !now.Before(s.sent.Add(patience)) {
		s.failedAt(s.size)
	}
	if s.size == 0 && now.Before(s.again) {
		return 0
	}
	if s.size == 0 {
		size := s.choose(proven, to)
		if size == 0 {
			*s = search{again: now.Add(raiseInterval)}
			return 0
		}
		s.size, s.sent, s.tries, s.pongs = size, time.Time{}, 0, 0
	}
	if !s.sent.IsZero() && now.Before(s.sent.Add(patience)) {
		return 0
	}
	s.sent = now
	s.tries++
	return s.size
}

// choose returns a size to test, or 0 when the search is at its end.
func (s *search) choose(proven int, to netip.Addr) int {
	i := slices.IndexFunc(frames, func(frame int) bool { return largest(frame, to) > proven })
	if i >= 0 && (s.failed == 0 || largest(frames[i], to) < s.failed) {
		return largest(frames[i], to)
	}
	if s.failed == 0 || s.failed-proven <= proven/32 {
		return 0
	}
	return proven + (s.failed-proven)/2
}

// answered reports whether the size of a ping that was answered has now passed.
func (s *search) answered(size int) bool {
	if s.size == 0 || size != s.size {
		return false
	}
	s.pongs++
	s.sent, s.tries = time.Time{}, 0
	if s.pongs < probePongs {
		return false
	}
	s.size = 0
	return true
}

// failedAt says that a size does not pass.
func (s *search) failedAt(size int) {
	if s.failed == 0 || size < s.failed {
		s.failed = size
	}
	if s.size >= size {
		s.size = 0
	}
}

func (s *search) deadline(patience time.Duration) time.Time {
	if s.size == 0 {
		return s.again
	}
	return s.sent.Add(patience)
}

// watch makes sure that the proven size still passes while it is used.
type watch struct {
	until time.Time   // while large messages are sent
	last  time.Time   // last ping
	sent  []time.Time // of pings that are not answered, oldest first
}

// on reports whether the watch is kept. It does not end while pings are
// unanswered: that nothing large is sent may be the very effect of the loss.
func (w *watch) on(now time.Time) bool { return now.Before(w.until) || len(w.sent) > 0 }

func (w *watch) extend(now time.Time) { w.until = now.Add(watchTime) }

func (w *watch) due(now time.Time, proven int) bool {
	return proven != 0 && w.on(now) && !now.Before(w.last.Add(watchInterval))
}

// answered says that the ping that was sent at a time was answered: so those
// before were lost by chance.
func (w *watch) answered(sent time.Time) {
	w.sent = slices.DeleteFunc(w.sent, func(t time.Time) bool { return !t.After(sent) })
}

// lost reports whether so many pings are overdue that it is no chance.
func (w *watch) lost(now time.Time, patience time.Duration) bool {
	return len(w.sent) >= watchLosses && !now.Before(w.sent[watchLosses-1].Add(patience))
}

func (w *watch) deadline(now time.Time, proven int, patience time.Duration) time.Time {
	if proven == 0 || !w.on(now) {
		return time.Time{}
	}
	d := w.last.Add(watchInterval)
	if len(w.sent) >= watchLosses {
		d = earlier(d, w.sent[watchLosses-1].Add(patience))
	}
	return d
}
