package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A collector is the stack behind a joiner.
type collector struct{ packets [][]byte }

func (c *collector) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	v := pkt.ToView()
	c.packets = append(c.packets, bytes.Clone(v.AsSlice()))
	v.Release()
}

func (c *collector) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

// joined returns what comes out of a joiner, for a batch.
func joined(packets [][]byte) [][]byte {
	var c collector
	var joiners joiners
	j := joiners.get(&c)
	for _, packet := range packets {
		if protocol, ok := protocolOf(packet); ok {
			j.add(packet, protocol)
		}
	}
	joiners.put(j)
	return c.packets
}

// run5 returns five packets of one connection that follow each other.
func run5(from, to netip.Addr, port uint16) [][]byte {
	payload := make([]byte, 5*1228)
	for i := range payload {
		payload[i] = byte(i / 100)
	}
	return cut(superSegment(netip.AddrPortFrom(from, port), netip.AddrPortFrom(to, 80), 1, header.TCPFlagAck, 1228, payload), nil)
}

// Connections that take turns are joined, each by itself.
func TestJoinManyConnections(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		const flows = maxRuns
		var batch [][]byte
		for turn := range 5 {
			for flow := range flows {
				batch = append(batch, run5(ends[0], ends[1], uint16(flow+1))[turn])
			}
		}
		out := joined(batch)
		if len(out) != flows {
			t.Errorf("%d packets came out; want one of each of %d connections", len(out), flows)
		}
		for _, packet := range out {
			payload := packet[tcpOffset(packet)+int(header.TCP(packet[tcpOffset(packet):]).DataOffset()):]
			if len(payload) != 5*1228 || payload[0] != 0 || payload[len(payload)-1] != byte((len(payload)-1)/100) {
				t.Errorf("a packet has %d bytes of payload", len(payload))
			}
		}
	}
}

func tcpOffset(packet []byte) int {
	if header.IPVersion(packet) == header.IPv6Version {
		return header.IPv6MinimumSize
	}
	return header.IPv4MinimumSize
}

// What makes the third of five packets differ keeps it from being joined with those
// before.
func TestJoinKeepsApart(t *testing.T) {
	tcp := func(p []byte) header.TCP { return header.TCP(p[tcpOffset(p):]) }
	for what, row := range map[string]struct {
		change func(p []byte)
		want   []int // packets that each one that comes out was made of
	}{
		"nothing":                  {func([]byte) {}, []int{5}},
		"a gap":                    {func(p []byte) { tcp(p).SetSequenceNumber(7) }, []int{2, 1, 2}},
		"what is acknowledged":     {func(p []byte) { tcp(p).SetAckNumber(78) }, []int{2, 1, 2}},
		"a timestamp":              {func(p []byte) { tcp(p).Options()[4]++ }, []int{2, 1, 2}},
		"the end of a stream":      {func(p []byte) { tcp(p).SetFlags(uint8(header.TCPFlagAck | header.TCPFlagFin)) }, []int{2, 1, 2}},
		"a reset":                  {func(p []byte) { tcp(p).SetFlags(uint8(header.TCPFlagRst)) }, []int{2, 1, 2}},
		"congestion":               {func(p []byte) { tcp(p).SetFlags(uint8(header.TCPFlagAck | header.TCPFlagEce)) }, []int{2, 1, 2}},
		"a push":                   {func(p []byte) { tcp(p).SetFlags(uint8(header.TCPFlagAck | header.TCPFlagPsh)) }, []int{5}},
		"a window":                 {func(p []byte) { tcp(p).SetWindowSize(9) }, []int{5}},
		"the type of service":      {func(p []byte) { p[1] ^= 0x30 }, []int{2, 1, 2}},
		"the time to live":         {func(p []byte) { p[8] = 3 }, []int{2, 1, 2}},
		"another connection":       {func(p []byte) { tcp(p).SetSourcePort(9) }, []int{2, 1, 2}},
		"a fragment":               {func(p []byte) { header.IPv4(p).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 0) }, []int{1, 2, 2}},
		"UDP":                      {func(p []byte) { p[9] = 17 }, []int{1, 2, 2}},
		"a length that is a lie":   {func(p []byte) { header.IPv4(p).SetTotalLength(100) }, []int{2, 1, 2}},
		"a header that has no end": {func(p []byte) { tcp(p).SetDataOffset(4) }, []int{2, 1, 2}},
	} {
		packets := run5(a4, b4, 1)
		row.change(packets[2])
		out := joined(packets)
		var got []int
		for _, p := range out {
			got = append(got, (len(p)-52+1227)/1228)
		}
		slices.Sort(got)
		slices.Sort(row.want)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", what, got, row.want)
		}
	}
}

// A joined packet is no longer than a packet can be.
func TestJoinWithinTheLength(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		from, to := netip.AddrPortFrom(ends[0], 1), netip.AddrPortFrom(ends[1], 80)
		first := cut(superSegment(from, to, 1, header.TCPFlagAck, 1228, make([]byte, 40*1228)), nil)
		rest := cut(superSegment(from, to, 1+40*1228, header.TCPFlagAck, 1228, make([]byte, 40*1228)), nil)
		sum := 0
		for _, packet := range joined(slices.Concat(first, rest)) {
			if len(packet) > 65535 {
				t.Errorf("a packet of %d bytes", len(packet))
			}
			if ends[0].Is4() && int(header.IPv4(packet).TotalLength()) != len(packet) || ends[0].Is6() && int(header.IPv6(packet).PayloadLength()) != len(packet)-40 {
				t.Error("the length in the header is another")
			}
			sum += len(packet) - tcpOffset(packet) - int(header.TCP(packet[tcpOffset(packet):]).DataOffset())
		}
		if sum != 80*1228 {
			t.Errorf("%d bytes came out, and %d went in", sum, 80*1228)
		}
	}
}

// story is what a connection would see of packets: bytes at their places in the
// stream, and all else that is said, in order.
func story(packets [][]byte) map[string][]string {
	told := make(map[string][]string)
	for _, p := range packets {
		protocol, _ := protocolOf(p)
		s, isTCP, joins := segmentOf(p, protocol)
		if !isTCP {
			told["not TCP"] = append(told["not TCP"], fmt.Sprintf("%x", p))
			continue
		}
		flow := fmt.Sprintf("%x", s.flow())
		if !joins {
			told[flow] = append(told[flow], fmt.Sprintf("%x", p))
			continue
		}
		for i, b := range s.payload() {
			told[flow] = append(told[flow], fmt.Sprint(s.tcp().SequenceNumber()+uint32(i), b, s.tcp().AckNumber(), s.class()))
		}
	}
	return told
}

// Whatever comes, connections see what they would have seen without joining.
func TestJoinChangesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var batch [][]byte
		next := make(map[uint16]uint32)
		for range 1 + rng.IntN(batchSize+20) {
			ends := [][2]netip.Addr{{a4, b4}, {a6, b6}}[rng.IntN(2)]
			port := uint16(1 + rng.IntN(20))
			flags := header.TCPFlagAck
			if rng.IntN(10) == 0 {
				flags |= []header.TCPFlags{header.TCPFlagFin, header.TCPFlagSyn, header.TCPFlagPsh, header.TCPFlagRst}[rng.IntN(4)]
			}
			payload := make([]byte, rng.IntN(9))
			binary.BigEndian.AppendUint32(payload[:0], rng.Uint32())
			seq := next[port]
			if rng.IntN(8) == 0 {
				seq -= uint32(rng.IntN(9)) // sent again
			}
			next[port] = seq + uint32(len(payload))
			batch = append(batch, cut(superSegment(netip.AddrPortFrom(ends[0], port), netip.AddrPortFrom(ends[1], 80), seq, flags, 1228, payload), nil)...)
		}
		want, got := story(batch), story(joined(batch))
		for flow := range want {
			if !slices.Equal(got[flow], want[flow]) {
				t.Fatalf("connection %s sees\n%v\nnot\n%v", flow, got[flow], want[flow])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d connections see something, not %d", len(got), len(want))
		}
	}
}

func FuzzJoin(f *testing.F) {
	for _, packet := range slices.Concat(run5(a4, b4, 1), run5(a6, b6, 1)) {
		f.Add(packet[:80], uint8(40))
	}
	f.Fuzz(func(t *testing.T, text []byte, at uint8) {
		split := min(int(at), len(text))
		batch := [][]byte{text, text[:split], text[split:], text}
		joined(batch) // must not panic; what it means is the stack's business
	})
}
