package path

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/key"
)

// carrying is a test with a direct path that carries UDP payloads up to a
// limit, and answers after a time.
type carrying struct {
	*peerTest
	addr    netip.AddrPort
	latency time.Duration
	limit   int
	dead    bool
	lossy   bool // of three padded pings one is answered
	pads    int
	due     []Ping // pings on their way, with when the pong comes
	at      []time.Time
	seen    int // of x.sent
}

func carry(t *testing.T, addr netip.AddrPort, latency time.Duration, limit int) *carrying {
	x := &carrying{peerTest: newPeerTest(t, addr), addr: addr, latency: latency, limit: limit}
	x.do(x.p.SetMeshnet(x.now, true))
	return x
}

// run lets time pass, with something sent every 10 ms: as large as the route
// allows, or small.
func (x *carrying) run(d time.Duration, large bool) {
	x.t.Helper()
	for end := x.now.Add(d); x.now.Before(end); x.step(large) {
	}
}

// runUntil runs until a condition holds, for a minute at most, and returns how
// long it took.
func (x *carrying) runUntil(why string, large bool, cond func() bool) time.Duration {
	x.t.Helper()
	begin := x.now
	for !cond() {
		if x.now.Sub(begin) > time.Minute {
			x.t.Fatalf("%v: waited a minute: %s", x.clock(), why)
		}
		x.step(large)
	}
	return x.now.Sub(begin)
}

func (x *carrying) step(large bool) {
	x.t.Helper()
	x.do(x.p.Sent(x.now, large && x.mtu() > BaseMTU))
	next := x.now.Add(10 * time.Millisecond)
	for {
		x.collect()
		if len(x.at) == 0 || x.at[0].After(next) {
			break
		}
		x.after(max(0, x.at[0].Sub(x.now)))
		ping := x.due[0]
		x.due, x.at = x.due[1:], x.at[1:]
		x.do(x.p.HandlePong(x.now, ping.To, ping.TxID))
	}
	x.after(next.Sub(x.now))
	x.collect()
}

func (x *carrying) collect() {
	for _, ping := range x.sent[x.seen:] {
		if ping.Size > 0 {
			x.pads++
		}
		if x.lossy && ping.Size > 0 && x.pads%3 != 0 {
			continue
		}
		if ping.Size <= x.limit && !x.dead && ping.To == x.addr {
			x.due, x.at = append(x.due, ping), append(x.at, x.now.Add(x.latency))
		}
	}
	x.seen = len(x.sent)
	x.pings = nil
}

func (x *carrying) mtu() int { return x.p.Route().MTU }

// padded returns how many padded pings were sent since an index of x.sent.
func (x *carrying) padded(since int) (n, bytes int) {
	for _, ping := range x.sent[since:] {
		if ping.Size != 0 {
			n, bytes = n+1, bytes+ping.Size
		}
	}
	return n, bytes
}

func TestTheLargestPacketIsFound(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addr  netip.AddrPort
		limit int
		want  int
		pings int // padded, at most
	}{
		{"Ethernet over IPv4", public, 1472, 1472, 30},
		{"Ethernet over IPv6", third, 1452, 1452, 30},
		{"DSL, 1,492", public, 1464, 1432, 25},
		{"a tunnel of 1,420", public, 1392, 1392, 12},
		{"no more than the base", public, BaseMTU, BaseMTU, 12},
		{"jumbo frames", private, 8973, 8973, 30},
		{"a cloud's 8,896", private, 8868, 8868, 15},
		{"something between", private, 4000, 3987, 30},
		{"loopback", netip.MustParseAddrPort("127.0.0.1:1"), 65507, 64972, 12},
		{"loopback on macOS", netip.MustParseAddrPort("127.0.0.1:1"), 16356, 16356, 36},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := carry(t, tt.addr, time.Millisecond, tt.limit)
			x.run(10*time.Second, false)
			if got := x.mtu(); got != tt.want {
				t.Errorf("MTU %d, want %d", got, tt.want)
			}
			if n, _ := x.padded(0); n > tt.pings {
				t.Errorf("%d padded pings were needed, want %d at most", n, tt.pings)
			}
			before := len(x.sent)
			x.run(5*time.Minute, false)
			if n, _ := x.padded(before); n != 0 {
				t.Errorf("%d padded pings while nothing large is sent", n)
			}
		})
	}
}

func TestAPaddedPingIsAPacketOfItsSize(t *testing.T) {
	ours, theirs := key.NewDisco(), key.NewDisco()
	shared := ours.Shared(theirs.Public())
	ping := Ping{Size: 1472}
	packet := disco.Seal(nil, ours.Public(), &shared, disco.Ping{TxID: ping.TxID, Padding: ping.Padding()})
	if len(packet) != ping.Size {
		t.Errorf("the packet has %d bytes, want %d", len(packet), ping.Size)
	}
}

func TestOnlyMeshnetPeersGetLargePackets(t *testing.T) {
	x := carry(t, private, time.Millisecond, 8973)
	x.do(x.p.SetMeshnet(x.now, false))
	x.run(time.Minute, false)
	if n, _ := x.padded(0); n != 0 || x.mtu() != BaseMTU {
		t.Errorf("MTU %d, %d padded pings", x.mtu(), n)
	}
	x.do(x.p.SetMeshnet(x.now, true))
	x.run(time.Minute, false)
	if x.mtu() != 8973 {
		t.Errorf("MTU %d, now that it is known as one", x.mtu())
	}
	x.do(x.p.SetMeshnet(x.now, false))
	if x.mtu() != BaseMTU {
		t.Errorf("MTU %d, now that it is not", x.mtu())
	}
}

func TestRelaysCarryLargePackets(t *testing.T) {
	p := New()
	if mtu := p.Route().MTU; mtu != BaseMTU {
		t.Errorf("MTU %d to a peer that may be any node, want %d", mtu, BaseMTU)
	}
	p.SetMeshnet(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), true)
	if r := p.Route(); r.MTU != RelayMTU {
		t.Errorf("MTU %d to a meshnet node through the relay, want %d", r.MTU, RelayMTU)
	}
}

func TestASizeNeedsTwoPongs(t *testing.T) {
	x := newPeerTest(t, public)
	x.do(x.p.SetMeshnet(x.now, true))
	x.send()
	x.answer(public)
	for n := range 2 {
		if x.p.Route().MTU != BaseMTU {
			t.Errorf("MTU %d after %d pongs", x.p.Route().MTU, n)
		}
		if ping := x.newest(public); ping.Size != 1472 || ping.Padding() != 1472-124 {
			t.Errorf("ping %d of %d bytes, padding %d", n, ping.Size, ping.Padding())
		}
		x.answer(public)
	}
	if x.p.Route().MTU != 1472 {
		t.Errorf("MTU %d after two pongs", x.p.Route().MTU)
	}
}

func TestAShrinkingPathIsNoticed(t *testing.T) {
	for _, latency := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, 350 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			x := carry(t, private, latency, 8973)
			x.runUntil("jumbo frames are found", false, func() bool { return x.mtu() == 8973 })
			x.run(10*time.Second, true)
			x.limit = 1472
			took := x.runUntil("it falls", true, func() bool { return x.mtu() == BaseMTU })
			if limit := 720*time.Millisecond + 3*latency; took > limit { // a pong may be under way
				t.Errorf("it took %v, want %v at most", took, limit)
			}
			x.wantDirect("the path is still there", private)
			took = x.runUntil("what is left is found", true, func() bool { return x.mtu() == 1472 })
			if took < shrinkPause || took > shrinkPause+5*time.Second {
				t.Errorf("the search came after %v", took)
			}
		})
	}
}

func TestTheFirstLargePacketBeginsTheWatch(t *testing.T) {
	x := carry(t, private, 10*time.Millisecond, 8973)
	x.runUntil("jumbo frames are found", false, func() bool { return x.mtu() == 8973 })
	x.run(time.Minute, false)
	if r := x.p.Route(); r.Wake != BaseMTU {
		t.Errorf("a large packet does not wake us: %+v", r)
	}
	x.limit = 1472 // unnoticed, while nothing large is sent
	x.run(time.Minute, false)
	took := x.runUntil("it falls", true, func() bool { return x.mtu() == BaseMTU })
	if took > 600*time.Millisecond {
		t.Errorf("it took %v from the first large packet", took)
	}
}

func TestTheWatchGoesOnWhenTheStreamStalls(t *testing.T) {
	x := carry(t, private, 700*time.Millisecond, 8973)
	x.runUntil("jumbo frames are found", false, func() bool { return x.mtu() == 8973 })
	x.run(5*time.Second, true)
	x.dead = true
	begin := x.now
	for x.mtu() != BaseMTU {
		d := x.p.Deadline()
		if d.Sub(begin) > 1400*time.Millisecond {
			t.Fatal("it does not fall when nothing is sent any more")
		}
		x.after(d.Sub(x.now))
	}
}

func TestSearchesAreBounded(t *testing.T) {
	x := newPeerTest(t, public)
	x.send()
	x.answer(public)
	for range 1000 {
		x.do(x.p.SetMeshnet(x.now, false))
		x.do(x.p.SetMeshnet(x.now, true))
		for x.newest(public).Size != 0 && x.do(x.p.HandlePong(x.now, public, x.newest(public).TxID)).Answered {
		}
		x.after(time.Millisecond)
	}
	padded := 0
	for _, ping := range x.sent {
		padded += min(1, ping.Size)
	}
	if padded < 64 || padded > 64+4 {
		t.Errorf("searches that begin again and again for a second made us send %d pings", padded)
	}
}

func TestTheWatchIsCheapAndEnds(t *testing.T) {
	x := carry(t, public, 10*time.Millisecond, 1472)
	x.run(10*time.Second, false)
	before := len(x.sent)
	x.run(10*time.Second, true)
	if n, bytes := x.padded(before); n > 51 || bytes > 51*1472 {
		t.Errorf("%d padded pings of %d bytes in 10 s", n, bytes)
	}
	x.run(2*time.Second, false)
	before = len(x.sent)
	x.run(10*time.Second, false)
	if n, _ := x.padded(before); n != 0 {
		t.Errorf("%d padded pings when nothing large is sent any more", n)
	}
}

func TestTheSearchIsDoneAgain(t *testing.T) {
	x := carry(t, private, time.Millisecond, 1472)
	x.run(10*time.Second, false)
	x.limit = 8973
	x.run(9*time.Minute, false)
	if x.mtu() != 1472 {
		t.Errorf("MTU %d before ten minutes", x.mtu())
	}
	x.run(2*time.Minute, false)
	if x.mtu() != 8973 {
		t.Errorf("MTU %d after ten minutes", x.mtu())
	}
}

func TestASizeThatTheSystemRefuses(t *testing.T) {
	x := carry(t, private, time.Millisecond, 8973)
	x.run(10*time.Second, false)
	x.do(x.p.TooBig(x.now, other, 100))
	x.do(x.p.TooBig(x.now, other, 8973))
	if x.mtu() != 8973 {
		t.Errorf("MTU %d, because of another address", x.mtu())
	}
	x.limit = 1472
	x.do(x.p.TooBig(x.now, private, 8000))
	if x.mtu() != BaseMTU {
		t.Errorf("MTU %d, and 8,000 bytes are refused", x.mtu())
	}
	x.wantDirect("the path is still there", private)
	x.do(x.p.TooBig(x.now, private, BaseMTU))
	x.wantRelay("a path that does not carry the base is none")
}

func TestARefusedProbeIsNotTriedThrice(t *testing.T) {
	x := newPeerTest(t, public)
	x.do(x.p.SetMeshnet(x.now, true))
	x.send()
	x.answer(public)
	x.do(x.p.TooBig(x.now, public, 1472))
	if size := x.newest(public).Size; size <= BaseMTU || size >= 1472 {
		t.Errorf("the next size is %d", size)
	}
}

func TestTheProofEndsWithTrust(t *testing.T) {
	x := carry(t, private, time.Millisecond, 8973)
	x.run(10*time.Second, false)
	x.dead = true
	x.run(7*time.Second, false)
	x.wantBoth("no pong for 6.5 s", private)
	if x.mtu() != BaseMTU {
		t.Errorf("MTU %d of a path that is not trusted", x.mtu())
	}
	x.dead = false
	took := x.runUntil("it heals", false, func() bool { return x.mtu() == 8973 })
	if took > 6*time.Second {
		t.Errorf("it took %v to find the size again", took)
	}
}

func TestLossIsNotTakenForASmallerPath(t *testing.T) {
	x := carry(t, private, 10*time.Millisecond, 8973)
	x.run(10*time.Second, false)
	x.lossy = true
	for range 100 {
		x.run(time.Second, true)
		if x.mtu() != 8973 {
			t.Fatalf("%v: MTU %d", x.clock(), x.mtu())
		}
	}
}

func TestFallsThatRepeatPauseLonger(t *testing.T) {
	x := carry(t, private, time.Millisecond, 8973)
	var pauses []time.Duration
	for range 4 {
		x.limit = 8973
		pauses = append(pauses, x.runUntil("it rises", true, func() bool { return x.mtu() == 8973 }))
		x.limit = 1200
		x.runUntil("it falls", true, func() bool { return x.mtu() == BaseMTU })
	}
	if pauses[2] < 20*time.Second || pauses[3] < 40*time.Second {
		t.Errorf("the searches came after %v", pauses)
	}
}
