package filter

import (
	"fmt"
	"testing"
)

func TestFlows(t *testing.T) {
	f := compile(t, Config{Local: prefixes(me4+"/32", me6+"/128")})
	flows := new(Flows)
	for _, sent := range [][]byte{
		udp(me4+":1000", peer4+":53"),
		udp("["+me6+"]:1000", "["+peer6+"]:53"),
		between(protoSCTP, me4+":1000", peer4+":54"),
		syn(me4+":1000", peer4+":80"),
		portless(47, me4, peer4),
		nil,
	} {
		flows.RecordOutbound(Parse(sent))
	}
	for _, test := range []struct {
		name   string
		packet []byte
		want   Verdict
	}{
		{"the answer to a datagram passes", udp(peer4+":53", me4+":1000"), AcceptFlow},
		{"the answer to a datagram over IPv6 passes", udp("["+peer6+"]:53", "["+me6+"]:1000"), AcceptFlow},
		{"the answer over SCTP passes", between(protoSCTP, peer4+":54", me4+":1000"), AcceptFlow},
		{"another protocol is no answer", between(protoSCTP, peer4+":53", me4+":1000"), DropNoRule},
		{"another port of the peer is no answer", udp(peer4+":54", me4+":1000"), DropNoRule},
		{"another port of ours is no answer", udp(peer4+":53", me4+":1001"), DropNoRule},
		{"another peer is no answer", udp("100.64.0.3:53", me4+":1000"), DropNoRule},
		{"a connection back is no answer to one", syn(peer4+":80", me4+":1000"), DropNoRule},
	} {
		if got := f.Check(Parse(test.packet), flows); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestFlowsForgetTheOldest(t *testing.T) {
	sent := func(i int) Packet { return Parse(udp(me4+":1000", fmt.Sprintf("%s:%d", peer4, i))) }
	answer := func(i int) *Packet {
		p := Parse(udp(fmt.Sprintf("%s:%d", peer4, i), me4+":1000"))
		return &p
	}
	flows := new(Flows)
	for i := range maxFlows {
		flows.RecordOutbound(sent(i))
	}
	if !flows.expects(answer(0)) {
		t.Fatal("the first of 512 flows is forgotten")
	}
	flows.RecordOutbound(sent(1)) // 2 is now the one that was not used for longest
	flows.RecordOutbound(sent(maxFlows))
	for i, want := range map[int]bool{0: true, 1: true, 2: false, 3: true, maxFlows: true} {
		if flows.expects(answer(i)) != want {
			t.Errorf("after 513 flows, flow %d is remembered: %v", i, !want)
		}
	}
	for i := range 10_000 {
		flows.RecordOutbound(sent(i))
	}
	if len(flows.byFlow) != maxFlows || flows.recent.Len() != maxFlows {
		t.Errorf("after 10,000 flows %d and %d are remembered, want %d", len(flows.byFlow), flows.recent.Len(), maxFlows)
	}
}
