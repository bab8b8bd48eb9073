package filter

import (
	"net/netip"
	"testing"
)

const (
	peer4 = "100.64.0.2"
	me4   = "100.64.0.1"
	peer6 = "fd7a::2"
	me6   = "fd7a::1"
)

// edit overwrites bytes of a packet.
func edit(b []byte, at int, with ...byte) []byte {
	copy(b[at:], with)
	return b
}

// fragment6 puts an IPv6 fragment header in front of a packet's payload.
func fragment6(b []byte, offset uint16, more bool) []byte {
	flags := offset << 3
	if more {
		flags |= 1
	}
	payload := append([]byte{b[6], 0, byte(flags >> 8), byte(flags), 0, 0, 0, 1}, b[40:]...)
	return ipPacket(protoFragment6, netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), payload)
}

func TestParse(t *testing.T) {
	tcp4, tcp6 := tcp(peer4+":1000", me4+":22"), tcp("["+peer6+"]:1000", "["+me6+"]:22")
	for _, test := range []struct {
		name   string
		packet []byte
		class  class
		proto  uint8
		src    string // "": not checked
		dst    string
	}{
		{"no bytes", nil, classEmpty, 0, "", ""},
		{"19 bytes", tcp4[:19], classShort, 0, "", ""},
		{"an IPv4 header without its payload", tcp4[:20], classUnknown, 0, "", ""},
		{"IPv5", edit(tcp(peer4+":1", me4+":2"), 0, 0x55), classUnknown, 0, "", ""},
		{"TCP", tcp4, classTCP, protoTCP, peer4 + ":1000", me4 + ":22"},
		{"TCP over IPv6", tcp6, classTCP, protoTCP, "[" + peer6 + "]:1000", "[" + me6 + "]:22"},
		{"half an IPv6 header", tcp6[:39], classUnknown, 0, "", ""},
		{"UDP", udp(peer4+":1000", me4+":53"), classDatagram, protoUDP, peer4 + ":1000", me4 + ":53"},
		{"SCTP", between(protoSCTP, peer4+":1", me4+":2"), classDatagram, protoSCTP, peer4 + ":1", me4 + ":2"},
		{"ICMP", portless(protoICMP, peer4, me4, 8), classICMP, protoICMP, peer4 + ":0", me4 + ":0"},
		{"ICMPv6", portless(protoICMPv6, peer6, me6, 128), classICMP, protoICMPv6, "[" + peer6 + "]:0", "[" + me6 + "]:0"},
		{"ICMPv6 over IPv4 is nothing special", portless(protoICMPv6, peer4, me4), classOther, protoICMPv6, "", ""},
		{"TSMP", portless(protoTSMP, peer4, me4), classTSMP, protoTSMP, "", ""},
		{"GRE", portless(47, peer4, me4), classOther, 47, "", ""},
		{"protocol 0", portless(0, peer4, me4), classUnknown, 0, "", ""},
		{"protocol 255", portless(255, peer4, me4), classUnknown, 255, "", ""},
		{"a routing header", portless(43, peer6, me6), classOther, 43, "", ""},
		{"hop-by-hop options", portless(0, peer6, me6), classUnknown, 0, "", ""},

		{"what follows the packet is ignored", append(udp(peer4+":1", me4+":2"), 0, 0), classDatagram, protoUDP, "", ""},
		{"an IPv4 length behind the end", edit(tcp(peer4+":1", me4+":2"), 2, 0, 41), classUnknown, 0, "", ""},
		{"an IPv4 length within the TCP header", edit(tcp(peer4+":1", me4+":2"), 2, 0, 39), classUnknown, protoTCP, "", ""},
		{"an IPv4 header of 16 bytes", edit(tcp(peer4+":1", me4+":2"), 0, 0x44), classUnknown, 0, "", ""},
		{"an IPv4 header longer than the packet", edit(tcp(peer4+":1", me4+":2"), 0, 0x4f), classUnknown, 0, "", ""},
		{"an IPv6 length behind the end", edit(tcp("["+peer6+"]:1", "["+me6+"]:2"), 4, 0, 21), classUnknown, 0, "", ""},
		{"an IPv6 length of 0", edit(tcp("["+peer6+"]:1", "["+me6+"]:2"), 4, 0, 0), classUnknown, protoTCP, "", ""},
		{"ICMP of 7 bytes", edit(portless(protoICMP, peer4, me4), 2, 0, 27), classUnknown, protoICMP, "", ""},
		{"UDP of 7 bytes", edit(udp(peer4+":1", me4+":2"), 2, 0, 27), classUnknown, protoUDP, "", ""},
		{"TSMP of 6 bytes", edit(portless(protoTSMP, peer4, me4), 2, 0, 26), classUnknown, protoTSMP, "", ""},

		{"the first fragment with a whole header", edit(tcp(peer4+":1", me4+":2"), 6, 0x20), classTCP, protoTCP, peer4 + ":1", me4 + ":2"},
		{"the first fragment with half a header", edit(edit(tcp(peer4+":1", me4+":2"), 6, 0x20), 2, 0, 28), classUnknown, protoTCP, "", ""},
		{"a later fragment", edit(tcp(peer4+":1", me4+":2"), 6, 0, 10), classFragment, protoTCP, peer4 + ":0", me4 + ":0"},
		{"a fragment that reaches into the header", edit(tcp(peer4+":1", me4+":2"), 6, 0, 9), classUnknown, protoTCP, "", ""},
		{"the first fragment of TSMP", edit(portless(protoTSMP, peer4, me4), 6, 0x20), classUnknown, protoTSMP, "", ""},
		{"the first fragment over IPv6", fragment6(tcp6, 0, true), classTCP, protoTCP, "[" + peer6 + "]:1000", "[" + me6 + "]:22"},
		{"a packet of one fragment over IPv6", fragment6(tcp6, 0, false), classTCP, protoTCP, "[" + peer6 + "]:1000", "[" + me6 + "]:22"},
		{"the first fragment over IPv6 with half a header", fragment6(tcp6[:50], 0, true), classUnknown, protoTCP, "", ""},
		{"a later fragment over IPv6", fragment6(tcp6, 10, false), classFragment, protoTCP, "", ""},
		{"a fragment over IPv6 that reaches into the header", fragment6(tcp6, 9, true), classUnknown, protoTCP, "", ""},
		{"the first fragment of TSMP over IPv6", fragment6(portless(protoTSMP, peer6, me6), 0, true), classUnknown, protoTSMP, "", ""},
		{"a fragment within a fragment", fragment6(fragment6(tcp6, 0, true), 0, true), classOther, protoFragment6, "", ""},
		{"half a fragment header", edit(fragment6(tcp6, 0, true), 4, 0, 7), classUnknown, protoFragment6, "", ""},
	} {
		p := Parse(test.packet)
		if p.class != test.class || p.Proto != test.proto {
			t.Errorf("%s: got class %d and protocol %d, want %d and %d", test.name, p.class, p.Proto, test.class, test.proto)
		}
		if test.src != "" && (p.Src.String() != test.src || p.Dst.String() != test.dst) {
			t.Errorf("%s: got %v to %v, want %s to %s", test.name, p.Src, p.Dst, test.src, test.dst)
		}
	}
}

func TestParseOptions(t *testing.T) {
	payload := append([]byte{1, 1, 1, 1}, ports(7, 8)...) // 4 bytes of options
	b := ipPacket(protoUDP, netip.MustParseAddr(peer4), netip.MustParseAddr(me4), payload)
	if p := Parse(edit(b, 0, 0x46)); p.class != classDatagram || p.Src.Port() != 7 || p.Dst.Port() != 8 {
		t.Errorf("a packet with IPv4 options has class %d, from %v to %v", p.class, p.Src, p.Dst)
	}
}

func TestStartsTCP(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags byte
		want  bool
	}{
		{"SYN", 0x02, true},
		{"SYN with ECN", 0xc2, true},
		{"SYN and FIN", 0x03, true},
		{"SYN and ACK", 0x12, false},
		{"ACK", 0x10, false},
		{"RST", 0x04, false},
		{"nothing", 0x00, false},
	} {
		b := tcp(peer4+":1", me4+":2")
		b[20+13] = test.flags
		if got := Parse(b).StartsTCP(); got != test.want {
			t.Errorf("%s starts a connection: %v", test.name, got)
		}
	}
	if Parse(edit(udp(peer4+":1", me4+":2"), 20+13, 0x02)).StartsTCP() {
		t.Error("UDP starts a connection")
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"an echo reply", portless(protoICMP, peer4, me4, 0, 0), true},
		{"an echo reply with a code", portless(protoICMP, peer4, me4, 0, 1), false},
		{"unreachable", portless(protoICMP, peer4, me4, 3, 4), true},
		{"time exceeded", portless(protoICMP, peer4, me4, 11), true},
		{"parameter problem", portless(protoICMP, peer4, me4, 12), true},
		{"an echo request", portless(protoICMP, peer4, me4, 8), false},
		{"a redirect", portless(protoICMP, peer4, me4, 5), false},
		{"an echo reply over IPv6", portless(protoICMPv6, peer6, me6, 129, 0), true},
		{"packet too big", portless(protoICMPv6, peer6, me6, 2), true},
		{"an echo request over IPv6", portless(protoICMPv6, peer6, me6, 128), false},
		{"a neighbour solicitation", portless(protoICMPv6, peer6, me6, 135), false},
	} {
		if got := Parse(test.packet).answer; got != test.want {
			t.Errorf("%s is an answer: %v", test.name, got)
		}
	}
}
