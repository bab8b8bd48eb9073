package path

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
)

var (
	public  = netip.MustParseAddrPort("1.2.3.4:41641")
	private = netip.MustParseAddrPort("192.168.1.7:41641")
	other   = netip.MustParseAddrPort("5.6.7.8:1111")
	third   = netip.MustParseAddrPort("[2001:db8::9]:41641")
)

// A peerTest drives one Peer on an invented clock. Ticks come when the
// deadline does. What the Peer wants sent is collected until a want takes it.
type peerTest struct {
	t     *testing.T
	p     *Peer
	start time.Time
	now   time.Time
	pings []Ping // not taken by a want yet
	sent  []Ping // all
	calls int    // not taken by a want yet
}

func newPeerTest(t *testing.T, candidates ...netip.AddrPort) *peerTest {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	x := &peerTest{t: t, p: New(), start: start, now: start}
	x.do(x.p.SetCandidates(x.now, candidates))
	return x
}

// do takes the output of an event.
func (x *peerTest) do(out Output) Output {
	x.t.Helper()
	x.pings = append(x.pings, out.Pings...)
	x.sent = append(x.sent, out.Pings...)
	if out.CallMeMaybe {
		x.calls++
	}
	if d := x.p.Deadline(); !d.IsZero() && !d.After(x.now) {
		x.t.Fatalf("%v: the deadline is %v ago", x.clock(), x.now.Sub(d))
	}
	return out
}

func (x *peerTest) clock() time.Duration { return x.now.Sub(x.start) }

// after lets time pass, with the ticks that the Peer wants.
func (x *peerTest) after(d time.Duration) *peerTest {
	x.t.Helper()
	end := x.now.Add(d)
	for {
		next := x.p.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		x.now = next
		x.do(x.p.Tick(x.now))
	}
	x.now = end
	x.do(x.p.Tick(x.now))
	return x
}

// use lets time pass with something being sent all along.
func (x *peerTest) use(d time.Duration) {
	x.t.Helper()
	for end := x.now.Add(d); x.now.Before(end); {
		x.send()
		x.after(min(time.Second, end.Sub(x.now)))
	}
}

func (x *peerTest) send() {
	x.t.Helper()
	x.do(x.p.Sent(x.now, false))
}

// answer has the newest ping to an address answered.
func (x *peerTest) answer(addr netip.AddrPort) {
	x.t.Helper()
	ping := x.newest(addr)
	if out := x.do(x.p.HandlePong(x.now, addr, ping.TxID)); !out.Answered {
		x.t.Fatalf("%v: the pong from %v answers nothing", x.clock(), addr)
	}
}

func (x *peerTest) newest(addr netip.AddrPort) Ping {
	x.t.Helper()
	for _, ping := range slices.Backward(x.sent) {
		if ping.To == addr {
			return ping
		}
	}
	x.t.Fatalf("%v: %v was never pinged", x.clock(), addr)
	return Ping{}
}

// alive lets time pass while something is sent and every ping to the addresses
// is answered at once.
func (x *peerTest) alive(d time.Duration, addrs ...netip.AddrPort) {
	x.t.Helper()
	for end := x.now.Add(d); x.now.Before(end); {
		x.do(x.p.Sent(x.now, false))
		x.after(min(100*time.Millisecond, end.Sub(x.now)))
		for _, ping := range x.pings {
			if slices.Contains(addrs, ping.To) {
				x.do(x.p.HandlePong(x.now, ping.To, ping.TxID))
			}
		}
		x.pings = nil
	}
}

func (x *peerTest) wantPings(why string, addrs ...netip.AddrPort) {
	x.t.Helper()
	var got []netip.AddrPort
	for _, ping := range x.pings {
		got = append(got, ping.To)
	}
	if !slices.Equal(got, addrs) {
		x.t.Errorf("%v: %s: pings %v, want %v", x.clock(), why, got, addrs)
	}
	x.pings = nil
}

func (x *peerTest) wantCalls(why string, n int) {
	x.t.Helper()
	if x.calls != n {
		x.t.Errorf("%v: %s: %d call-me-maybes, want %d", x.clock(), why, x.calls, n)
	}
	x.calls = 0
}

func (x *peerTest) wantRelay(why string) {
	x.t.Helper()
	x.wantRoute(why, netip.AddrPort{}, true)
}

func (x *peerTest) wantDirect(why string, addr netip.AddrPort) {
	x.t.Helper()
	x.wantRoute(why, addr, false)
}

func (x *peerTest) wantBoth(why string, addr netip.AddrPort) {
	x.t.Helper()
	x.wantRoute(why, addr, true)
}

func (x *peerTest) wantRoute(why string, direct netip.AddrPort, relay bool) {
	x.t.Helper()
	if r := x.p.Route(); r.Direct != direct || r.Relay != relay {
		x.t.Errorf("%v: %s: route is %v, relay %v, want %v, relay %v", x.clock(), why, r.Direct, r.Relay, direct, relay)
	}
}

// direct returns a test in which a path with a latency has just been proven.
func direct(t *testing.T, latency time.Duration, candidates ...netip.AddrPort) *peerTest {
	t.Helper()
	x := newPeerTest(t, candidates...)
	x.send()
	x.after(latency)
	x.answer(candidates[0])
	x.wantDirect("after the first pong", candidates[0])
	x.pings, x.calls = nil, 0
	return x
}

func TestFirstDataGoesByTheRelayAndDiscoveryBegins(t *testing.T) {
	x := newPeerTest(t, public, private)
	x.wantPings("nobody has sent anything")
	if r := x.p.Route(); r.Wake != 0 {
		t.Errorf("the first who sends does not wake us: %+v", r)
	}
	x.send()
	x.wantRelay("there is no path yet")
	x.wantPings("discovery begins at once", public, private)
	x.wantCalls("and the peer is called", 1)
	if r := x.p.Route(); r.Wake != math.MaxInt {
		t.Errorf("whoever sends wakes us, but we know: %+v", r)
	}
}

func TestAPeerWithoutKnownEndpointsIsCalled(t *testing.T) {
	x := newPeerTest(t)
	x.send()
	x.wantCalls("it may reach us", 1)
}

func TestAPongMakesThePath(t *testing.T) {
	x := newPeerTest(t, public, private)
	x.send()
	x.after(20 * time.Millisecond)
	x.wantRelay("nothing has been answered")
	x.answer(private)
	x.wantDirect("it has been answered", private)
}

func TestForgedPongsChangeNothing(t *testing.T) {
	x := newPeerTest(t, public, private)
	x.send()
	x.after(time.Millisecond)
	real := x.newest(public)
	for _, forged := range []struct {
		name string
		from netip.AddrPort
		tx   disco.TxID
	}{
		{"a transaction that we never sent", public, disco.TxID{1}},
		{"a pong from an address that we did not ping", other, real.TxID},
		{"a pong from another address that we did ping", private, real.TxID},
		{"another port", netip.AddrPortFrom(public.Addr(), 1), real.TxID},
	} {
		if out := x.do(x.p.HandlePong(x.now, forged.from, forged.tx)); out.Answered {
			t.Errorf("%s answers something", forged.name)
		}
		x.wantRelay(forged.name)
	}
	x.answer(public)
	x.wantDirect("the true pong still counts", public)
	x.after(6 * time.Second)
	if out := x.do(x.p.HandlePong(x.now, public, real.TxID)); out.Answered {
		t.Error("a pong counts twice")
	}
	x.after(time.Second)
	x.wantBoth("a pong that comes again prolongs nothing", public)
}

func TestALatePongCountsForNothing(t *testing.T) {
	x := newPeerTest(t, public)
	x.send()
	ping := x.newest(public)
	x.now = x.now.Add(pingTimeout)
	if out := x.do(x.p.HandlePong(x.now, public, ping.TxID)); out.Answered {
		t.Error("a pong counts after five seconds")
	}
	x.wantRelay("it came too late")
}

func TestTrustEndsAndThePathIsGivenUp(t *testing.T) {
	x := direct(t, 10*time.Millisecond, public)
	x.use(6490 * time.Millisecond)
	x.wantDirect("it is trusted for 6.5 s", public)
	x.use(20 * time.Millisecond)
	x.wantBoth("trust has ended", public)
	x.use(4980 * time.Millisecond)
	x.wantBoth("the last ping may still be answered", public)
	x.use(20 * time.Millisecond)
	x.wantRelay("it was not")
	if len(x.pings) == 0 || x.newest(public).To != public {
		t.Error("the path is not tried any more")
	}
	x.use(5 * time.Second)
	x.answer(public)
	x.wantDirect("it heals", public)
}

func TestAPongRestoresTrust(t *testing.T) {
	x := direct(t, 10*time.Millisecond, public)
	x.use(6500 * time.Millisecond)
	x.wantBoth("trust has ended", public)
	x.wantPings("heartbeats, and one more when trust ends", public, public, public)
	x.wantCalls("discovery begins", 1)
	x.after(10 * time.Millisecond)
	x.answer(public)
	x.wantDirect("it answers again", public)
	x.after(6490 * time.Millisecond)
	x.wantDirect("for another 6.5 s", public)
}

func TestHeartbeat(t *testing.T) {
	x := direct(t, time.Millisecond, public, private)
	for range 10 {
		x.send()
		x.after(2990 * time.Millisecond)
		x.wantPings("it is not time for a heartbeat")
		x.after(10 * time.Millisecond)
		x.wantPings("every 3 s the best path alone is pinged", public)
		x.answer(public)
	}
	x.wantCalls("nobody is called meanwhile", 0)
}

func TestAnIdleHourCostsNothing(t *testing.T) {
	x := direct(t, 20*time.Millisecond, public, private)
	x.alive(time.Minute, public, private)
	before, last := len(x.sent), x.now
	for x.now.Sub(last) < activeTime {
		x.after(50 * time.Millisecond)
		for _, ping := range x.pings {
			x.do(x.p.HandlePong(x.now, ping.To, ping.TxID))
		}
		x.pings = nil
	}
	if n := len(x.sent) - before; n < 14 {
		t.Errorf("%d pings in the 45 s in which the peer is active", n)
	}
	before = len(x.sent)
	if r := x.p.Route(); r.Wake != 0 {
		t.Errorf("the peer is idle, and who sends does not wake us: %+v", r)
	}
	x.after(7 * time.Second)
	if d := x.p.Deadline(); !d.IsZero() {
		t.Errorf("an idle peer has a deadline in %v", d.Sub(x.now))
	}
	x.after(time.Hour)
	if n := len(x.sent) - before; n != 0 || x.calls > 5 {
		t.Errorf("%d pings in an idle hour", n)
	}
	x.wantBoth("data after an hour goes both ways at once", private)
	x.pings, x.calls = nil, 0
	x.send()
	x.wantPings("and discovery begins", private, public)
	x.wantCalls("with a call", 1)
}

func TestABetterPathIsLookedForEveryMinute(t *testing.T) {
	for _, tt := range []struct {
		name    string
		latency time.Duration
		want    int
	}{
		{"a path of 20 ms", 20 * time.Millisecond, 3},
		{"a path of 5 ms is good enough", 5 * time.Millisecond, 0},
	} {
		x := direct(t, tt.latency, public, private)
		begin := len(x.sent)
		for range 65 { // 195 s
			x.send()
			x.after(3*time.Second - tt.latency)
			x.after(tt.latency)
			x.answer(public)
		}
		rounds := 0
		for _, ping := range x.sent[begin:] {
			if ping.To == private {
				rounds++
			}
		}
		if rounds != tt.want {
			t.Errorf("%s: the other candidate was pinged %d times in 195 s, want %d", tt.name, rounds, tt.want)
		}
		x.wantCalls(tt.name+": each round calls", tt.want)
	}
}

func TestRoundsWhileThereIsNoPath(t *testing.T) {
	x := newPeerTest(t, public, private)
	x.send()
	x.wantPings("the first round", public, private)
	x.use(24 * time.Millisecond)
	x.wantPings("the peer may not know us yet")
	x.use(time.Millisecond)
	x.wantPings("the first round once more", public, private)
	x.use(75 * time.Millisecond)
	x.wantPings("and again", public, private)
	x.use(4890 * time.Millisecond)
	x.wantPings("after that no candidate is pinged twice within 5 s")
	if x.p.Stuck() {
		t.Error("it counts as failed after one round")
	}
	x.use(10 * time.Millisecond)
	x.wantPings("the second round", public, private)
	x.wantCalls("a call with each", 2)
	if !x.p.Stuck() {
		t.Error("it does not count as failed after two rounds")
	}
	x.after(time.Hour)
	x.send()
	if x.p.Stuck() {
		t.Error("it counts as failed after an idle hour, when it has just begun again")
	}
	x.use(10 * time.Second)
	x.answer(public)
	if x.p.Stuck() {
		t.Error("it counts as failed although there is a path")
	}
}

func TestNewCandidatesArePingedAtOnce(t *testing.T) {
	x := newPeerTest(t, public)
	x.do(x.p.SetCandidates(x.now, []netip.AddrPort{public, private}))
	x.wantPings("the peer is not in use")
	x.send()
	x.after(time.Second)
	x.pings = nil
	x.do(x.p.SetCandidates(x.now, []netip.AddrPort{private, other}))
	x.wantPings("only the new one", other)
	x.after(4 * time.Second)
	x.wantPings("the withdrawn one is not pinged any more", private)
}

func TestCallMeMaybe(t *testing.T) {
	x := newPeerTest(t, public)
	x.do(x.p.HandleCallMeMaybe(x.now, []netip.AddrPort{private, other}))
	x.wantPings("all are pinged, though nobody sent anything", public, private, other)
	x.wantCalls("a call is not answered by a call", 0)

	x.after(time.Millisecond)
	x.do(x.p.HandleCallMeMaybe(x.now, []netip.AddrPort{third}))
	x.wantPings("all are pinged, however lately; those of the call before are forgotten", public, third)
	x.after(3 * time.Millisecond)
	x.answer(third)
	x.wantDirect("there is a path before the first packet", third)
	x.after(7 * time.Second)
	x.wantPings("and no heartbeat for it")
	x.wantBoth("so trust ends", third)
	if d := x.p.Deadline(); !d.IsZero() {
		t.Errorf("an idle peer has a deadline in %v", d.Sub(x.now))
	}
}

func TestACallDoesNotTakeTheTrustedPathAway(t *testing.T) {
	x := newPeerTest(t)
	x.send()
	x.do(x.p.HandleCallMeMaybe(x.now, []netip.AddrPort{public}))
	x.answer(public)
	x.do(x.p.HandleCallMeMaybe(x.now, []netip.AddrPort{private}))
	x.wantDirect("the path works, whoever lists it", public)
	x.alive(10*time.Second, public)
	x.wantDirect("and goes on working", public)
}

func TestCallsAreLimited(t *testing.T) {
	x := newPeerTest(t, public)
	x.send()
	x.wantCalls("the first is sent at once", 1)
	for range 10 {
		x.after(50 * time.Millisecond)
		x.do(x.p.NetworkChanged(x.now))
	}
	x.wantCalls("ten changes within half a second", 0)
	x.after(1490 * time.Millisecond)
	x.wantCalls("two seconds have not passed", 0)
	x.after(10 * time.Millisecond)
	x.wantCalls("they have", 1)
}

func TestAPingFromANewSourceIsPingedBack(t *testing.T) {
	x := newPeerTest(t, public)
	x.do(x.p.HandlePing(x.now, other))
	x.wantPings("nothing is sent to the peer, so we need no path")
	x.send()
	x.wantPings("where it was heard is a candidate", public, other)
	x.after(time.Second)
	x.pings = nil
	x.do(x.p.HandlePing(x.now, third))
	x.wantPings("a new one is pinged at once", third)
	x.do(x.p.HandlePing(x.now, public))
	x.wantPings("one that was pinged before is again, for the peer's NAT is open now", public)
	x.after(time.Second)
	for range 10 {
		x.do(x.p.HandlePing(x.now, public))
		x.do(x.p.HandlePing(x.now, third))
	}
	x.wantPings("but once in five seconds")
	x.answer(third)
	x.after(6 * time.Second)
	x.pings = nil
	x.do(x.p.HandlePing(x.now, third))
	x.wantPings("and not on a path that is proven")
}

func TestASilentSourceIsForgotten(t *testing.T) {
	x := newPeerTest(t)
	x.do(x.p.HandlePing(x.now, other))
	x.send()
	x.use(46 * time.Second)
	x.pings = nil
	x.use(10 * time.Second)
	x.wantPings("45 s without a ping or pong")
}

func TestThePeerMoves(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandlePing(x.now, other))
	x.wantPings("the old path must answer, and the new one, too", other, public)
	x.after(30 * time.Millisecond)
	x.answer(other)
	x.wantDirect("the new one is not better", public)
	x.after(270 * time.Millisecond)
	x.wantDirect("but the old one does not answer", other)
}

func TestThePeerMovesAndTheOldPathIsDead(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandlePing(x.now, other))
	x.after(170 * time.Millisecond) // two round trips of 30 ms at most, and 100 ms
	x.wantBoth("trust has ended early", public)
	x.answer(other)
	x.wantDirect("the new path takes over", other)
}

func TestAHandshakeThroughTheRelay(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandleHandshake(x.now))
	x.wantBoth("whoever has restarted is not where it was", public)
	x.after(30 * time.Millisecond)
	x.answer(public)
	x.wantDirect("it is there", public)

	x.alive(2*doubtInterval, public)
	x.do(x.p.HandleHandshake(x.now))
	x.after(170 * time.Millisecond)
	x.wantBoth("it is not", public)
}

func TestAHandshakeFromWhereThePeerWasHeard(t *testing.T) {
	x := newPeerTest(t)
	x.do(x.p.HandlePing(x.now, other))
	x.wantPings("nothing is sent to the peer")
	x.do(x.p.HandleInitiation(x.now, other))
	x.wantPings("something will be", other)
	x.answer(other)
	x.wantDirect("and finds a path", other)
}

func TestThePeerMovesTwiceAtOnce(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandlePing(x.now, other))
	x.after(30 * time.Millisecond)
	x.answer(public)
	x.wantDirect("it is still there", public)
	x.after(100 * time.Millisecond)
	third := netip.AddrPortFrom(other.Addr(), 3)
	x.do(x.p.HandlePing(x.now, third))
	x.after(30 * time.Millisecond)
	x.answer(third)
	x.wantDirect("a second after the first sign there is no answer yet", public)
	x.after(doubtInterval + 160*time.Millisecond)
	x.wantDirect("then it has gone", third)
}

func TestThePeerMovesBack(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandlePing(x.now, other))
	x.after(30 * time.Millisecond)
	x.answer(other)
	x.after(270 * time.Millisecond)
	x.wantDirect("the peer has moved", other)
	x.alive(2*doubtInterval, other)
	x.do(x.p.HandlePing(x.now, public))
	x.after(30 * time.Millisecond)
	x.do(x.p.HandlePing(x.now, public))
	x.answer(public)
	x.after(270 * time.Millisecond)
	x.wantDirect("and back, where it had been heard lately", public)
}

func TestThePeerIsNotWhereItWasBefore(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.do(x.p.HandlePing(x.now, other))
	x.after(10 * time.Millisecond)
	x.answer(other)
	x.wantDirect("the peer has moved to where it is nearer", other)
	x.after(doubtInterval)
	third := netip.AddrPortFrom(other.Addr(), 3)
	x.do(x.p.HandlePing(x.now, third))
	x.after(40 * time.Millisecond)
	x.answer(third)
	x.after(130 * time.Millisecond)
	x.wantDirect("of two that answered within 6.5 s it is the one that answered since", third)
}

func TestTheOldPathAnswersAndStays(t *testing.T) {
	x := direct(t, 30*time.Millisecond, public)
	x.alive(time.Minute, public)
	x.send()
	x.do(x.p.HandlePing(x.now, other))
	x.after(30 * time.Millisecond)
	x.answer(public)
	x.after(10 * time.Millisecond)
	x.answer(other)
	x.wantDirect("the other is no better", public)
	x.pings = nil
	for i := range uint16(100) {
		x.do(x.p.HandlePing(x.now, netip.AddrPortFrom(other.Addr(), 1+i)))
		x.after(5 * time.Millisecond)
	}
	pings := 0
	for _, ping := range x.pings {
		if ping.To == public {
			pings++
		}
	}
	if pings > 1 {
		t.Errorf("a hundred new sources within half a second made us ping the best path %d times", pings)
	}
}

func TestABetterPathTakesOver(t *testing.T) {
	x := newPeerTest(t, public, private)
	x.send()
	x.after(20 * time.Millisecond)
	x.answer(public)
	x.after(time.Millisecond)
	x.answer(private)
	x.wantDirect("a private address is preferred", private)
	x.send()
	x.after(3 * time.Second)
	x.answer(private)
	x.wantDirect("and stays", private)
}

func TestSendFailed(t *testing.T) {
	x := direct(t, 10*time.Millisecond, public, private)
	x.alive(20*time.Second, public)
	x.send()
	x.do(x.p.SendFailed(x.now, private))
	x.wantDirect("another address concerns nobody", public)
	x.do(x.p.SendFailed(x.now, public))
	x.wantRelay("the path is forgotten at once")
	x.wantPings("discovery begins at once", private)
	x.wantCalls("with a call", 1)
	for range 100 {
		x.do(x.p.SendFailed(x.now, public))
		x.do(x.p.SendFailed(x.now, private))
	}
	x.wantPings("failing pings make no storm")
	x.after(5 * time.Second)
	x.answer(public)
	x.wantDirect("a pong brings it back", public)
}

func TestAPingBeforeAFailureProvesNothing(t *testing.T) {
	x := newPeerTest(t, public)
	x.send()
	ping := x.newest(public)
	x.do(x.p.SendFailed(x.now, public))
	x.do(x.p.HandlePong(x.now, public, ping.TxID))
	x.wantRelay("the pong answers a ping from before the failure")
}

func TestNetworkChanged(t *testing.T) {
	x := direct(t, 10*time.Millisecond, public, private)
	x.alive(20*time.Second, public)
	x.send()
	x.after(3 * time.Second)
	old := x.newest(public)
	x.pings = nil
	x.do(x.p.NetworkChanged(x.now))
	x.wantRelay("what was proven is not any more")
	x.wantPings("all is tried anew", public, private)
	x.wantCalls("with a call", 1)
	x.do(x.p.HandlePong(x.now, public, old.TxID))
	x.wantRelay("a pong from before does not count")
	x.after(time.Millisecond)
	x.answer(private)
	x.wantDirect("one from after does", private)

	idle := newPeerTest(t, public)
	idle.do(idle.p.NetworkChanged(idle.now))
	idle.wantPings("a peer that is not in use needs no path")
	if d := idle.p.Deadline(); !d.IsZero() {
		t.Errorf("an idle peer has a deadline in %v", d.Sub(idle.now))
	}
}

func TestUselessAddressesAreNoCandidates(t *testing.T) {
	x := newPeerTest(t)
	x.send()
	var useless []netip.AddrPort
	for _, s := range []string{
		"0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "1.2.3.4:0", "[fe80::1]:1",
		"127.3.3.40:5", "[::ffff:127.3.3.40]:5", "[::ffff:0.0.0.0]:1", "[::ffff:224.0.0.1]:1",
	} {
		useless = append(useless, netip.MustParseAddrPort(s))
	}
	useless = append(useless, netip.AddrPort{})
	x.do(x.p.SetCandidates(x.now, useless))
	x.do(x.p.HandleCallMeMaybe(x.now, useless))
	x.do(x.p.Probe(x.now, useless...))
	for _, addr := range useless {
		x.do(x.p.HandlePing(x.now, addr))
	}
	x.after(10 * time.Second)
	x.wantPings("none of them is pinged")
	x.do(x.p.SetCandidates(x.now, []netip.AddrPort{netip.MustParseAddrPort("[::ffff:1.2.3.4]:41641")}))
	x.wantPings("an IPv4 address in IPv6 is what it is", public)
	zoned := netip.MustParseAddrPort("[fe80::1%eth0]:1")
	x.do(x.p.HandlePing(x.now, zoned))
	x.wantPings("a link-local address with its link is one", zoned)
}

func TestCandidatesAreBounded(t *testing.T) {
	many := func(third byte) (addrs []netip.AddrPort) {
		for i := range 200 {
			addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, third, byte(i)}), 1))
		}
		return addrs
	}
	x := newPeerTest(t, public)
	x.send()
	x.answer(public)
	for round := range byte(10) {
		x.do(x.p.HandleCallMeMaybe(x.now, many(round)))
		for _, addr := range append(many(round), many(100+round)...) {
			x.do(x.p.HandlePing(x.now, addr))
		}
		x.do(x.p.SetCandidates(x.now, append(many(50+round), public)))
		if n := len(x.p.candidates); n > 101 {
			t.Fatalf("%d candidates", n)
		}
	}
	x.wantDirect("the path in use stays among them", public)
}

func TestASourceThatAnsweredIsWorthMoreThanManyThatPing(t *testing.T) {
	x := newPeerTest(t, private)
	x.send()
	x.do(x.p.HandlePing(x.now, other))
	x.after(20 * time.Millisecond)
	x.answer(other)
	x.answer(private)
	x.wantDirect("the private path is better", private)
	x.after(time.Second)
	for i := range byte(100) {
		x.do(x.p.HandlePing(x.now, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, 9, i}), 1)))
	}
	x.do(x.p.SendFailed(x.now, private))
	x.wantDirect("the next best is still known", other)
}

func TestPingsAreBounded(t *testing.T) {
	x := newPeerTest(t)
	x.send()
	for i := range 1000 {
		var addrs []netip.AddrPort
		for j := range 100 {
			addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(i >> 8), byte(i), byte(j)}), 1))
		}
		x.do(x.p.HandleCallMeMaybe(x.now, addrs))
		x.after(10 * time.Millisecond)
	}
	if n := len(x.sent); n > 128+10*25 {
		t.Errorf("a flood of calls for 10 s made us send %d pings", n)
	}
	if n := len(x.p.flights); n > maxFlights {
		t.Errorf("%d pings are remembered", n)
	}
}

func TestAPortThatWasGuessedIsAPath(t *testing.T) {
	x := newPeerTest(t)
	x.send()
	x.do(x.p.Probe(x.now, other, third))
	x.wantPings("guesses are pinged", other, third)
	x.after(10 * time.Millisecond)
	x.answer(other)
	x.wantDirect("one was right", other)
	x.alive(10*time.Second, other)
	x.wantDirect("and is kept", other)
}

func TestTimeThatGoesBackIsNoHarm(t *testing.T) {
	x := direct(t, 10*time.Millisecond, public)
	x.p.Tick(x.now.Add(-time.Hour))
	x.do(x.p.Sent(x.now, false))
	x.wantDirect("nothing happened", public)
}

func TestBetter(t *testing.T) {
	const ms = time.Millisecond
	path := func(addr string, latency time.Duration) *candidate {
		return &candidate{addr: netip.MustParseAddrPort(addr), latency: latency}
	}
	for _, tt := range []struct {
		name string
		a, b *candidate
		want bool
	}{
		{"twice as fast", path("1.1.1.1:1", 10*ms), path("2.2.2.2:1", 20*ms), true},
		{"as fast", path("1.1.1.1:1", 20*ms), path("2.2.2.2:1", 20*ms), false},
		{"1 % faster", path("1.1.1.1:1", 99*ms), path("2.2.2.2:1", 100*ms), false},
		{"2 % faster", path("1.1.1.1:1", 98*ms), path("2.2.2.2:1", 100*ms), true},
		{"slower", path("1.1.1.1:1", 30*ms), path("2.2.2.2:1", 20*ms), false},
		{"private against public", path("10.0.0.1:1", 20*ms), path("2.2.2.2:1", 20*ms), true},
		{"private, and a little slower", path("10.0.0.1:1", 23*ms), path("2.2.2.2:1", 20*ms), true},
		{"private, and much slower", path("10.0.0.1:1", 26*ms), path("2.2.2.2:1", 20*ms), false},
		{"loopback against private", path("127.0.0.1:1", 1*ms), path("10.0.0.1:1", 1*ms), true},
		{"link-local against private", path("169.254.0.1:1", 1*ms), path("10.0.0.1:1", 1*ms), true},
		{"IPv6 against IPv4", path("[2001:db8::1]:1", 20*ms), path("2.2.2.2:1", 20*ms), true},
		{"IPv6 that is 15 % slower", path("[2001:db8::1]:1", 23*ms), path("2.2.2.2:1", 20*ms), false},
		{"no latency at all", path("1.1.1.1:1", 0), path("2.2.2.2:1", 0), false},
	} {
		if got := better(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: better is %v", tt.name, got)
		}
		if tt.want && better(tt.b, tt.a) {
			t.Errorf("%s: each is better than the other", tt.name)
		}
	}
}

func ExamplePeer() {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	peer := New()
	peer.SetCandidates(now, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:41641")})

	out := peer.Sent(now, false)
	fmt.Println("relay:", peer.Route().Relay, "ping:", out.Pings[0].To, "call:", out.CallMeMaybe)

	now = now.Add(20 * time.Millisecond)
	peer.HandlePong(now, out.Pings[0].To, out.Pings[0].TxID)
	fmt.Println("direct:", peer.Route().Direct, "look again in", peer.Deadline().Sub(now))
	// Output:
	// relay: true ping: 192.0.2.7:41641 call: true
	// direct: 192.0.2.7:41641 look again in 2.98s
}
