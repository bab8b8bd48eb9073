package socks5

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// An invented clock: start plus whatever the test says.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(after time.Duration) time.Time { return start.Add(after) }

var (
	dns1 = netip.MustParseAddrPort("100.64.0.1:53")
	dns2 = netip.MustParseAddrPort("[fd7a::2]:53")
)

// wire returns an address as it stands in a datagram.
func wire(a netip.AddrPort) []byte { return appendAddress(nil, a) }

// wireName returns a name and port as they stand in a datagram.
func wireName(name string, port uint16) []byte {
	b := append([]byte{typeName, byte(len(name))}, name...)
	return append(b, byte(port>>8), byte(port))
}

// openFlow sends a datagram through flows, as an association does that allows
// everything.
func (f *flows) openFlow(to netip.AddrPort, now time.Time) {
	fl := f.use(wire(to), now)
	fl.state, fl.to = open, to
	f.sent(to, now)
}

func TestRepliesComeFromWhereDatagramsWent(t *testing.T) {
	var f flows
	f.openFlow(dns1, at(0))
	for _, test := range []struct {
		name string
		from string
		want bool
	}{
		{"the target replies", "100.64.0.1:53", true},
		{"the target's address in IPv6 form is the same", "[::ffff:100.64.0.1]:53", true},
		{"another port of the target is another target", "100.64.0.1:54", false},
		{"another host is another target", "100.64.0.2:53", false},
		{"nothing was sent to the IPv6 target", "[fd7a::2]:53", false},
	} {
		if got := f.expects(wire(netip.MustParseAddrPort(test.from)), at(time.Second)); got != test.want {
			t.Errorf("%s: a datagram from %s is passed on: %v", test.name, test.from, got)
		}
	}
	f.openFlow(dns2, at(0))
	if !f.expects(wire(dns2), at(time.Second)) || !f.expects(wire(dns1), at(time.Second)) {
		t.Error("of two targets only one may reply")
	}
}

func TestFlowsExpire(t *testing.T) {
	var f flows
	f.openFlow(dns1, at(0))
	f.openFlow(dns2, at(0))
	almost := flowLife - time.Second
	if !f.expects(wire(dns1), at(almost)) {
		t.Error("a flow expired before its time")
	}
	if !f.expects(wire(dns1), at(almost+almost)) {
		t.Error("a reply does not keep a flow alive")
	}
	if f.expects(wire(dns2), at(flowLife)) {
		t.Error("a reply was passed on after two minutes of silence")
	}
	if fl := f.use(wire(dns1), at(10*flowLife)); fl.state != unasked || fl.replies {
		t.Error("a flow came back after it had expired")
	}
}

func TestANameIsNotItsAddress(t *testing.T) {
	var f flows
	name := wireName("dns.mesh", 53)
	f.use(name, at(0)).state = asking
	f.settle(string(name), dns1, at(0))
	f.sent(dns1, at(0))
	if !f.expects(wire(dns1), at(0)) {
		t.Error("the reply to a datagram for a name is not passed on")
	}
	if fl := f.use(wire(dns1), at(0)); fl.state != unasked {
		t.Error("the address is allowed because its name is")
	}
	if fl := f.use(name, at(0)); fl.state != open || fl.to != dns1 {
		t.Error("the name's flow did not open")
	}
}

func TestRefusedTargetsAreAskedForAgain(t *testing.T) {
	var f flows
	target := wire(dns1)
	f.use(target, at(0)).state = asking
	f.settle(string(target), netip.AddrPort{}, at(0))
	for after := time.Duration(0); after < refusedLife; after += time.Second {
		if f.use(target, at(after)).state != refused {
			t.Fatalf("a refused target is %v after the refusal not refused", after)
		}
	}
	if f.use(target, at(refusedLife)).state != unasked {
		t.Error("a target stays refused while datagrams come")
	}
	if f.expects(target, at(refusedLife)) {
		t.Error("a reply from a target that no datagram was sent to is passed on")
	}
}

func TestHeldDatagramsAreBounded(t *testing.T) {
	var f flows
	slow, other := f.use(wire(dns1), at(0)), f.use(wire(dns2), at(0))
	slow.state, other.state = asking, asking
	data := []byte("question")
	f.hold(slow, data)
	data[0] = 'Q' // the buffer is used again
	for range 2 * maxHeld {
		f.hold(other, nil)
	}
	if f.held > maxHeld || len(other.held) > maxHeld/heldOverhead {
		t.Errorf("%d bytes in %d datagrams are held", f.held, len(other.held))
	}
	if held := f.settle(slow.target, dns1, at(1)); len(held) != 1 || string(held[0]) != "question" {
		t.Errorf("held %q", held)
	}
	f.remove(other)
	if f.held != 0 {
		t.Errorf("%d bytes are counted, and none held", f.held)
	}
}

func TestFlowsForgetWhatWasNotUsedForLongest(t *testing.T) {
	var f flows
	target := func(i int) netip.AddrPort { return netip.AddrPortFrom(dns1.Addr(), uint16(i+1)) }
	for i := range maxFlows {
		f.openFlow(target(i), at(0))
	}
	f.openFlow(target(0), at(1))
	f.expects(wire(target(1)), at(1))
	f.openFlow(target(maxFlows), at(1)) // pushes out 2
	for i, want := range map[int]bool{0: true, 1: true, 2: false, 3: true, maxFlows: true} {
		if f.expects(wire(target(i)), at(2)) != want {
			t.Errorf("after %d flows, flow %d is known: %v", maxFlows+1, i, !want)
		}
	}
	for i := range 10 * maxFlows {
		f.use(wireName(fmt.Sprint("host", i), 1), at(3))
	}
	if len(f.byTarget) != maxFlows || f.recent.Len() != maxFlows {
		t.Errorf("%d and %d flows are remembered, want %d", len(f.byTarget), f.recent.Len(), maxFlows)
	}
}

// An answer from Allow may come when its flow has made room for others.
func TestSettlingAForgottenFlow(t *testing.T) {
	var f flows
	target := wire(dns1)
	fl := f.use(target, at(0))
	fl.state = asking
	f.hold(fl, []byte("lost"))
	f.remove(fl)
	if held := f.settle(string(target), dns1, at(0)); held != nil {
		t.Errorf("held %q", held)
	}
	if f.use(target, at(0)).state != unasked {
		t.Error("a flow was opened that nobody knows")
	}
}

func TestKnownFlowsCostNoAllocation(t *testing.T) {
	var f flows
	name, ip := wireName("a-rather-long-name-of-a-host.mesh.example.com", 53), wire(dns2)
	f.use(name, at(0))
	f.openFlow(dns2, at(0))
	if n := testing.AllocsPerRun(100, func() {
		f.use(name, at(1))
		f.use(ip, at(1))
		f.sent(dns2, at(1))
		f.expects(ip, at(1))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
