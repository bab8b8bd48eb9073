package path

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// FuzzPeer feeds a Peer events in any order, and holds it to what its caller
// and the network rely on.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{opCandidates, 3, opSent, 0, opWait, 1, opPong, 0, opTick, 0, opPong, 1, opWait, 255})
	f.Add([]byte{opMeshnet, 1, opCandidates, 5, opSent, 1, opPong, 0, opPong, 0, opPong, 0, opPong, 0, opSent, 1, opTick, 9, opTick, 9, opTooBig, 0})
	f.Add([]byte{opCall, 200, opCall, 100, opPing, 1, opSent, 0, opPing, 2, opPong, 0, opFail, 0, opNetwork, 0, opPong, 3})
	f.Add([]byte{opSent, 0, opProbe, 9, opPong, 0, opPong, 1, opForge, 0, opWait, 200, opTick, 0, opWait, 50, opPong, 2})
	f.Fuzz(func(t *testing.T, events []byte) {
		x := newInvariants(t)
		for ; len(events) >= 2; events = events[2:] {
			x.event(events[0]%opCount, events[1])
		}
		x.rest()
	})
}

const (
	opCandidates = iota
	opCall
	opPing
	opPong  // a true one
	opForge // another
	opSent
	opFail
	opTooBig
	opNetwork
	opProbe
	opMeshnet
	opHandshake  // through a relay
	opInitiation // directly
	opTick       // goes to the deadline
	opWait       // lets time pass, without ticks
	opCount
)

// invariants are what must hold of a Peer, with what it takes to check them.
type invariants struct {
	t      *testing.T
	p      *Peer
	now    time.Time
	active time.Time // the last Sent
	called time.Time
	sent   []flight // all pings that may still be answered, and those of the last second
	probes int      // that were asked for

	answered map[netip.AddrPort]time.Time         // last true pong since the last failure
	carried  map[netip.AddrPort]map[int]time.Time // of which size
}

func newInvariants(t *testing.T) *invariants {
	x := &invariants{t: t, p: New(), now: zero}
	x.forget()
	return x
}

func (x *invariants) forget() {
	x.answered = make(map[netip.AddrPort]time.Time)
	x.carried = make(map[netip.AddrPort]map[int]time.Time)
}

// address returns one of 256 addresses, some of them useless.
func address(b byte) netip.AddrPort {
	switch {
	case b < 8:
		return []netip.AddrPort{public, private, other, third, {}, netip.MustParseAddrPort("127.3.3.40:1"),
			netip.MustParseAddrPort("[fe80::1]:1"), netip.MustParseAddrPort("224.0.0.1:1")}[b]
	case b%2 == 0:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, 9, b}), 1)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: b}), 1)
}

func addresses(b byte) (addrs []netip.AddrPort) {
	for i := range b {
		addrs = append(addrs, address(i*7+b))
	}
	return addrs
}

func (x *invariants) event(op, arg byte) {
	switch op {
	case opCandidates:
		x.check(op, x.p.SetCandidates(x.now, addresses(arg)))
	case opCall:
		x.check(op, x.p.HandleCallMeMaybe(x.now, addresses(arg)))
	case opPing:
		x.check(op, x.p.HandlePing(x.now, address(arg)))
	case opHandshake:
		x.check(op, x.p.HandleHandshake(x.now))
	case opInitiation:
		x.active = x.now
		x.check(op, x.p.HandleInitiation(x.now, address(arg)))
	case opPong:
		x.pong(arg)
	case opForge:
		x.forge(arg)
	case opSent:
		x.active = x.now
		x.check(op, x.p.Sent(x.now, arg%2 == 1))
	case opFail:
		delete(x.answered, address(arg))
		x.check(op, x.p.SendFailed(x.now, address(arg)))
	case opTooBig:
		x.check(op, x.p.TooBig(x.now, address(arg%4), int(arg)*100))
	case opNetwork:
		x.forget()
		x.check(op, x.p.NetworkChanged(x.now))
	case opProbe:
		x.probes += int(arg % 8)
		x.check(op, x.p.Probe(x.now, addresses(arg%8)...))
	case opMeshnet:
		x.check(op, x.p.SetMeshnet(x.now, arg%4 != 0))
	case opTick:
		if d := x.p.Deadline(); !d.IsZero() {
			x.now = d
		}
		x.check(op, x.p.Tick(x.now))
	case opWait:
		x.now = x.now.Add(time.Duration(arg) * time.Duration(arg) * time.Millisecond)
		x.check(op, x.p.Tick(x.now))
	}
}

// pong answers one of the newest pings truly, if it is not too late.
func (x *invariants) pong(arg byte) {
	i := len(x.sent) - 1 - int(arg)
	if i < 0 || x.sent[i].tx == ([12]byte{}) {
		return
	}
	f := x.sent[i]
	x.sent[i].tx = [12]byte{} // once
	out := x.p.HandlePong(x.now, f.to, f.tx)
	if out.Answered {
		x.answered[f.to] = x.now
		if x.carried[f.to] == nil {
			x.carried[f.to] = make(map[int]time.Time)
		}
		x.carried[f.to][f.size] = x.now
		if x.now.Sub(f.at) >= pingTimeout {
			x.t.Errorf("a pong counts after %v", x.now.Sub(f.at))
		}
	}
	x.check(opPong, out)
}

// forge sends pongs that answer nothing.
func (x *invariants) forge(arg byte) {
	x.p.Tick(x.now)
	before := x.p.Route()
	var tx [12]byte
	binary.BigEndian.PutUint64(tx[:], 1+uint64(arg))
	outs := []Output{x.p.HandlePong(x.now, address(arg), tx)}
	if n := len(x.sent); n > 0 && x.sent[n-1].to != address(arg) {
		outs = append(outs, x.p.HandlePong(x.now, address(arg), x.sent[n-1].tx))
	}
	for _, out := range outs {
		if out.Answered || len(out.Pings) > 0 || x.p.Route() != before {
			x.t.Errorf("a forged pong had an effect: %+v, route %+v, then %+v", out, before, x.p.Route())
		}
	}
}

// check holds what must hold after every event.
func (x *invariants) check(op byte, out Output) {
	x.t.Helper()
	if d := x.p.Deadline(); !d.IsZero() && !d.After(x.now) {
		x.t.Fatalf("after event %d the deadline is %v ago", op, x.now.Sub(d))
	}
	active := !x.active.IsZero() && x.now.Sub(x.active) < activeTime
	if !active && out.CallMeMaybe || !active && len(out.Pings) > 0 && op != opCall && op != opProbe {
		x.t.Errorf("event %d: an idle peer makes us send %+v", op, out)
	}
	if out.CallMeMaybe {
		if !x.called.IsZero() && x.now.Sub(x.called) < callInterval {
			x.t.Errorf("a call %v after another", x.now.Sub(x.called))
		}
		x.called = x.now
	}
	x.checkPings(out.Pings)
	x.checkRoute(active)
	if c, f := len(x.p.candidates), len(x.p.flights); c > 101 || f > maxFlights {
		x.t.Errorf("%d candidates, %d pings are remembered", c, f)
	}
}

func (x *invariants) checkPings(pings []Ping) {
	for _, ping := range pings {
		if !usable(ping.To) {
			x.t.Errorf("%v is pinged", ping.To)
		}
		x.sent = append(x.sent, flight{tx: ping.TxID, to: ping.To, at: x.now, size: ping.Size})
	}
	second, padded := 0, 0
	for i := len(x.sent) - 1; i >= 0 && x.now.Sub(x.sent[i].at) < time.Second; i-- {
		second++
		if x.sent[i].size != 0 {
			padded++
		}
	}
	// The budget, and heartbeats and doubts; in no time at all, the best path may
	// change as often as candidates are pinged.
	if limit := 128 + 25 + 5; second-padded-x.probes > limit {
		x.t.Errorf("%d unpadded pings within a second", second-padded)
	}
	if padded > 64+4+10 {
		x.t.Errorf("%d padded pings within a second", padded)
	}
}

func (x *invariants) checkRoute(active bool) {
	r := x.p.Route()
	at, ok := x.answered[r.Direct]
	relayed := BaseMTU
	if x.p.raiseMTU {
		relayed = RelayMTU
	}
	if !r.Direct.IsValid() && (!r.Relay || r.MTU != relayed) {
		x.t.Errorf("there is no path, and the route is %+v", r)
	}
	if r.Direct.IsValid() && !ok {
		x.t.Errorf("data goes to %v, which has not answered", r.Direct)
	}
	if r.Direct.IsValid() && !r.Relay && x.now.Sub(at) >= trustTime {
		x.t.Errorf("data goes to %v alone, which answered %v ago", r.Direct, x.now.Sub(at))
	}
	if r.MTU < BaseMTU {
		x.t.Errorf("MTU %d", r.MTU)
	}
	if _, ok := x.carried[r.Direct][r.MTU]; r.Direct.IsValid() && r.MTU > BaseMTU && (!ok || r.Relay) {
		x.t.Errorf("MTU %d, of which nothing was answered: %+v", r.MTU, r)
	}
	if !active && r.Wake != 0 {
		x.t.Errorf("the peer is idle, and who sends does not wake us: %+v", r)
	}
}

// rest leaves the peer alone. It comes to an end of its own.
func (x *invariants) rest() {
	for range 10000 {
		d := x.p.Deadline()
		if d.IsZero() {
			break
		}
		x.now = d
		x.check(opTick, x.p.Tick(x.now))
	}
	if d := x.p.Deadline(); !d.IsZero() {
		x.t.Errorf("the peer has not come to rest: deadline in %v", d.Sub(x.now))
	}
	if len(x.p.flights) != 0 {
		x.t.Error("an idle peer remembers pings")
	}
}

// TestManyEvents does the same with sequences that are long, and likely enough
// to get somewhere.
func TestManyEvents(t *testing.T) {
	often := []byte{opPong, opPong, opPong, opPong, opSent, opSent, opTick, opTick, opTick, opTick, opPing}
	direct, raised := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		x := newInvariants(t)
		x.event(opMeshnet, byte(seed))
		for range 500 {
			op := byte(rng.IntN(opCount))
			if rng.IntN(3) > 0 {
				op = often[rng.IntN(len(often))]
			}
			x.event(op, byte(rng.IntN(1<<rng.IntN(9))))
			if r := x.p.Route(); !r.Relay {
				direct++
				raised += min(1, r.MTU-BaseMTU)
			}
		}
		x.rest()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if t.Logf("of 30,000 events %d found a direct path, %d a raised MTU", direct, raised); direct < 10000 || raised < 500 {
		t.Error("the events get nowhere")
	}
}

// FuzzPortProbing starts plans with any ports: no guess is useless, and the
// rate holds.
func FuzzPortProbing(f *testing.F) {
	f.Add(uint64(0), []byte{})
	f.Add(^uint64(0), []byte{0xff, 0xff, 0xff, 0xfe})
	f.Add(uint64(1), []byte{4, 0, 4, 1, 4, 2})
	f.Fuzz(func(t *testing.T, seed uint64, ports []byte) {
		var seen []uint16
		for ; len(ports) >= 2; ports = ports[2:] {
			seen = append(seen, binary.BigEndian.Uint16(ports))
		}
		var b PortProbing
		b.Start(zero, EasySide, other, seen, seed)
		n := 0
		for b.Running() {
			now := b.Deadline()
			for _, probe := range b.Tick(now) {
				if n++; probe.To.Port() < firstPort || !usable(probe.To) || probe.Socket != -1 {
					t.Fatalf("a guess is %+v", probe)
				}
			}
			if b.Running() && !b.Deadline().After(now) {
				t.Fatal("the deadline does not move on")
			}
		}
		if n != 2990 {
			t.Errorf("%d guesses", n)
		}
	})
}
