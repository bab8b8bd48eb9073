package path

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A wire joins an address of host 0 with one of host 1.
type wire struct {
	addr    [2]netip.AddrPort
	latency time.Duration // in one direction
	loss    float64
	mtu     int  // larger UDP payloads are lost; 0: none are
	nat     bool // a packet arrives only if its receiver has sent by the wire
	cut     bool
	sent    [2]bool // by the host
}

// A world is two hosts that are each other's peer, wires between them, and a
// relay, on an invented clock.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	start time.Time
	now   time.Time
	hosts [2]*host
	wires []*wire
	relay time.Duration // its latency
	queue []arrival
}

type arrival struct {
	at     time.Time
	arrive func()
}

// host is what magicsock does around a Peer.
type host struct {
	w         *world
	id        int
	p         *Peer
	endpoints []netip.AddrPort // that it tells the peer in a call
	route     Route
	sent      bool // since the Peer was last told
	large     bool

	// Of its peer's data: packets by when they were sent, and how they came.
	got    map[int]bool
	total  int // sent by the other
	stalls time.Duration
	last   time.Time // when one came
	pings  int
	calls  int
	viaUDP int
}

func newWorld(t *testing.T, wires ...*wire) *world {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{t: t, rng: rand.New(rand.NewPCG(1, 2)), start: start, now: start, wires: wires, relay: 40 * time.Millisecond}
	for i := range w.hosts {
		h := &host{w: w, id: i, p: New(), got: make(map[int]bool)}
		w.hosts[i] = h
		for _, wire := range wires {
			h.endpoints = append(h.endpoints, wire.addr[i])
		}
	}
	for i, h := range w.hosts {
		h.do(h.p.SetCandidates(w.now, w.hosts[1-i].endpoints))
		h.do(h.p.SetMeshnet(w.now, true))
	}
	return w
}

func (w *world) clock() time.Duration { return w.now.Sub(w.start) }

func (w *world) after(d time.Duration, arrive func()) {
	a := arrival{w.now.Add(d), arrive}
	i, _ := slices.BinarySearchFunc(w.queue, a, func(b, a arrival) int {
		if b.at.After(a.at) {
			return 1
		}
		return -1 // in order, what comes at the same time
	})
	w.queue = slices.Insert(w.queue, i, a)
}

// drive lets everything happen that happens within a time.
func (w *world) drive(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for {
		next := end
		if len(w.queue) > 0 {
			next = earlier(next, w.queue[0].at)
		}
		for _, h := range w.hosts {
			next = earlier(next, h.p.Deadline())
		}
		if next.Before(w.now) {
			w.t.Fatalf("%v: a deadline is in the past", w.clock())
		}
		if !next.Before(end) {
			w.now = end
			return
		}
		w.now = next
		for len(w.queue) > 0 && !w.queue[0].at.After(w.now) {
			a := w.queue[0]
			w.queue = w.queue[1:]
			a.arrive()
		}
		for _, h := range w.hosts {
			if d := h.p.Deadline(); !d.IsZero() && !d.After(w.now) {
				h.tell()
				h.do(h.p.Tick(w.now))
			}
		}
	}
}

// until drives until a condition holds and returns how long that took.
func (w *world) until(why string, cond func() bool) time.Duration {
	w.t.Helper()
	begin := w.now
	for !cond() {
		if w.now.Sub(begin) > time.Minute {
			w.t.Fatalf("%v: waited a minute: %s", w.clock(), why)
		}
		w.drive(time.Millisecond)
	}
	return w.now.Sub(begin)
}

// carry delivers a packet of host from, if its wire does.
func (w *world) carry(from int, to netip.AddrPort, size int, arrive func(src netip.AddrPort)) {
	i := slices.IndexFunc(w.wires, func(wire *wire) bool { return wire.addr[1-from] == to })
	if i < 0 {
		return
	}
	wire := w.wires[i]
	wire.sent[from] = true
	if wire.cut || wire.mtu > 0 && size > wire.mtu || w.rng.Float64() < wire.loss {
		return
	}
	w.after(wire.latency, func() {
		if !wire.cut && (!wire.nat || wire.sent[1-from]) {
			arrive(wire.addr[from])
		}
	})
}

func (h *host) other() *host { return h.w.hosts[1-h.id] }

// tell passes on that something was sent.
func (h *host) tell() {
	if h.sent {
		large := h.large
		h.sent, h.large = false, false
		h.do(h.p.Sent(h.w.now, large))
	}
}

func (h *host) do(out Output) {
	h.pings += len(out.Pings)
	for _, ping := range out.Pings {
		h.w.carry(h.id, ping.To, ping.Size, func(src netip.AddrPort) { h.other().pinged(src, ping) })
	}
	if out.CallMeMaybe {
		h.calls++
		endpoints := slices.Clone(h.endpoints)
		h.w.after(h.w.relay, func() {
			o := h.other()
			o.tell()
			o.do(o.p.HandleCallMeMaybe(h.w.now, endpoints))
		})
	}
	h.route = h.p.Route()
}

func (h *host) pinged(src netip.AddrPort, ping Ping) {
	h.w.carry(h.id, src, 0, func(from netip.AddrPort) {
		o := h.other()
		o.tell()
		o.do(o.p.HandlePong(h.w.now, from, ping.TxID))
	})
	h.tell()
	h.do(h.p.HandlePing(h.w.now, src))
}

// send sends one WireGuard message to the peer.
func (h *host) send(size int) {
	o, r := h.other(), h.route
	h.sent, h.large = true, h.large || size > BaseMTU
	o.total++
	n := o.total
	if r.Direct.IsValid() && size <= r.MTU {
		h.w.carry(h.id, r.Direct, size, func(netip.AddrPort) { o.viaUDP++; o.receive(n) })
	}
	if r.Relay || size > r.MTU {
		h.w.after(h.w.relay, func() { o.receive(n) })
	}
	if size > r.Wake {
		h.tell()
	}
}

func (h *host) receive(n int) {
	h.got[n] = true
	if !h.last.IsZero() {
		h.stalls = max(h.stalls, h.w.now.Sub(h.last))
	}
	h.last = h.w.now
}

// talk has both hosts send a message every 10 ms for a time.
func (w *world) talk(d time.Duration, size func(*host) int) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		for _, h := range w.hosts {
			h.send(size(h))
		}
		w.drive(10 * time.Millisecond)
	}
}

func small(*host) int { return 100 }

// full is as large as the sender knows the path to carry.
func full(h *host) int { return h.route.MTU }

// settle lets what is under way arrive, and begins to count anew.
func (w *world) settle() {
	w.drive(100 * time.Millisecond)
	for _, h := range w.hosts {
		h.got, h.total, h.stalls, h.last, h.viaUDP = make(map[int]bool), 0, 0, time.Time{}, 0
	}
}

func (w *world) wantNothingLost(why string) {
	w.t.Helper()
	w.drive(100 * time.Millisecond)
	for i, h := range w.hosts {
		if len(h.got) != h.total {
			w.t.Errorf("%v: %s: host %d got %d of %d messages", w.clock(), why, i, len(h.got), h.total)
		}
	}
}

func (w *world) wantDirect(why string, by *wire) {
	w.t.Helper()
	for i, h := range w.hosts {
		if r := h.route; r.Direct != by.addr[1-i] || r.Relay {
			w.t.Errorf("%v: %s: the route of host %d is %+v", w.clock(), why, i, r)
		}
	}
}

func (w *world) directBy(by *wire) bool {
	return !slices.ContainsFunc(w.hosts[:], func(h *host) bool { return h.route.Relay || h.route.Direct != by.addr[1-h.id] })
}

func newWire(a, b string, latency time.Duration) *wire {
	return &wire{addr: [2]netip.AddrPort{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}, latency: latency}
}

func TestEasyNATsAreDirectWithin200ms(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 5*time.Millisecond)
	public.nat = true
	w := newWorld(t, public)
	w.hosts[0].send(148) // a WireGuard initiation, which is answered as soon as it comes
	w.after(w.relay, func() { w.hosts[1].send(92) })
	took := w.until("both go direct", func() bool { return w.directBy(public) })
	t.Logf("direct after %v", took)
	if took > 200*time.Millisecond {
		t.Errorf("direct after %v, with 40 ms to the relay and a round trip of 10 ms", took)
	}
	w.wantNothingLost("the first messages")
}

func TestOneSideSendsAndHasItsPath(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 5*time.Millisecond)
	public.nat = true
	w := newWorld(t, public)
	w.hosts[0].send(100)
	w.until("the sender goes direct", func() bool { return !w.hosts[0].route.Relay })
	w.drive(time.Hour)
	w.until("nobody has anything to do", func() bool { return w.hosts[0].p.Deadline().IsZero() && w.hosts[1].p.Deadline().IsZero() })
	before := w.hosts[0].pings + w.hosts[1].pings
	w.drive(time.Hour)
	if n := w.hosts[0].pings + w.hosts[1].pings - before; n != 0 {
		t.Errorf("%d pings in an idle hour", n)
	}
}

func TestNothingIsLostWhenPathsChange(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	public.mtu = 1472
	home := newWire("192.168.1.1:1", "192.168.1.2:2", time.Millisecond)
	home.cut = true
	w := newWorld(t, public, home)
	w.talk(10*time.Second, full)
	w.wantDirect("there is one path", public)
	w.wantNothingLost("from the relay to the path")

	home.cut = false
	w.talk(70*time.Second, full)
	w.wantDirect("a better one has come up", home)
	w.wantNothingLost("from one path to the other")
	if mtu := w.hosts[0].route.MTU; mtu < 60000 {
		t.Errorf("MTU %d, and the new path carries all", mtu)
	}
}

func TestACutIsNoticedAndHeals(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	w := newWorld(t, public)
	w.talk(20*time.Second, small)
	w.settle()
	public.cut = true
	w.talk(6600*time.Millisecond, small)
	for i, h := range w.hosts {
		if !h.route.Relay {
			t.Errorf("host %d does not use the relay 6.6 s after the cut", i)
		}
	}
	w.talk(20*time.Second, small)
	for i, h := range w.hosts {
		if h.route.Direct.IsValid() {
			t.Errorf("host %d has not given the path up", i)
		}
		if h.stalls > 7*time.Second {
			t.Errorf("host %d heard nothing for %v", i, h.stalls)
		}
	}
	w.settle()
	public.cut = false
	w.talk(6*time.Second, small)
	w.wantDirect("healed", public)
	w.wantNothingLost("while it heals")
}

func TestAHostMovesAndGoesOn(t *testing.T) {
	before := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	after := newWire("3.3.3.3:3", "2.2.2.2:2", 25*time.Millisecond)
	after.cut = true
	w := newWorld(t, before)
	w.talk(20*time.Second, small)
	w.wantDirect("at home", before)
	w.settle()

	mover := w.hosts[0]
	before.cut, after.cut = true, false
	w.wires = []*wire{after}
	mover.endpoints = []netip.AddrPort{after.addr[0]}
	mover.do(mover.p.NetworkChanged(w.now))
	w.talk(5*time.Second, small)
	w.wantDirect("elsewhere", after)
	for i, h := range w.hosts {
		if h.stalls > 500*time.Millisecond {
			t.Errorf("host %d heard nothing for %v", i, h.stalls)
		}
	}
}

func TestAHostMovesBehindItsNATWithoutKnowing(t *testing.T) {
	// The NAT has lost its mapping: what host 0 sends comes from another port.
	before := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	w := newWorld(t, before)
	w.talk(20*time.Second, small)
	after := newWire("1.1.1.1:999", "2.2.2.2:2", 20*time.Millisecond)
	w.wires = []*wire{after}
	w.settle()
	w.talk(10*time.Second, small)
	w.wantDirect("by the new port", after)
	if h := w.hosts[0]; h.stalls > 3500*time.Millisecond { // a heartbeat shows the new port
		t.Errorf("host 0 heard nothing for %v", h.stalls)
	}
}

func TestAPathThatLosesPacketsStaysInUse(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	public.loss = 0.05
	w := newWorld(t, public)
	w.talk(10*time.Second, full)
	w.settle()
	w.talk(5*time.Minute, full)
	for i, h := range w.hosts {
		if share := float64(h.viaUDP) / float64(h.total); share < 0.94 {
			t.Errorf("%.2f of what host %d is sent came by the path", share, i)
		}
	}
}

func TestAPathShrinksUnderAStream(t *testing.T) {
	jumbo := newWire("10.0.0.1:1", "10.0.0.2:2", time.Millisecond)
	jumbo.mtu = 8973
	w := newWorld(t, jumbo)
	w.talk(20*time.Second, full)
	if mtu := w.hosts[0].route.MTU; mtu != 8973 {
		t.Fatalf("MTU %d", mtu)
	}
	w.settle()
	jumbo.mtu = 1472
	w.talk(30*time.Second, full)
	for i, h := range w.hosts {
		if h.stalls > time.Second {
			t.Errorf("host %d heard nothing for %v", i, h.stalls)
		}
		if h.route.MTU != 1472 {
			t.Errorf("host %d has come to an MTU of %d", 1-i, h.route.MTU)
		}
	}
}

func TestPingsBetweenActivePeersAreFew(t *testing.T) {
	one := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	two := newWire("[2001:db8::1]:1", "[2001:db8::2]:2", 20*time.Millisecond)
	w := newWorld(t, one, two)
	w.talk(20*time.Second, small)
	before := [2]int{w.hosts[0].pings, w.hosts[1].pings}
	w.talk(20*time.Minute, small)
	for i, h := range w.hosts {
		// Heartbeats, and a round of two every minute with what it has the
		// other side do, and a search for the MTU every ten.
		if n := h.pings - before[i]; n > 400+20*8+2*12 {
			t.Errorf("host %d sent %d pings in 20 minutes", i, n)
		}
	}
}

func TestPeersWithoutAPathDoNotStorm(t *testing.T) {
	public := newWire("1.1.1.1:1", "2.2.2.2:2", 20*time.Millisecond)
	public.cut = true
	w := newWorld(t, public)
	w.talk(10*time.Minute, small)
	for i, h := range w.hosts {
		if h.pings > 2*120+10 || h.calls > 120+1 {
			t.Errorf("host %d sent %d pings and %d calls in ten minutes", i, h.pings, h.calls)
		}
	}
	w.wantNothingLost("by the relay")
}
