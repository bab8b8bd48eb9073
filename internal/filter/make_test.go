package filter

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// ipPacket returns an IP packet of the family of its addresses.
func ipPacket(proto uint8, src, dst netip.Addr, payload []byte) []byte {
	if src.Is4() {
		b := []byte{0: 0x45, 8: 64, 9: proto, 19: 0}
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		return append(b, payload...)
	}
	b := []byte{0: 0x60, 6: proto, 7: 64, 39: 0}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, payload...)
}

// ports returns a transport header of 20 bytes with ports.
func ports(src, dst uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

// between returns a packet with the ports of two endpoints.
func between(proto uint8, src, dst string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return ipPacket(proto, s.Addr(), d.Addr(), ports(s.Port(), d.Port()))
}

func udp(src, dst string) []byte { return between(protoUDP, src, dst) }
func tcp(src, dst string) []byte { return between(protoTCP, src, dst) } // of a connection

func syn(src, dst string) []byte {
	b := tcp(src, dst)
	b[len(b)-20+13] = tcpSYN
	return b
}

// portless returns a packet of a protocol without ports.
func portless(proto uint8, src, dst string, payload ...byte) []byte {
	payload = append(payload, make([]byte, 8)...)
	return ipPacket(proto, netip.MustParseAddr(src), netip.MustParseAddr(dst), payload)
}

func prefixes(list ...string) (ps []netip.Prefix) {
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// allow returns a rule from srcs to a destination and a range of ports.
func allow(srcs []string, dst string, first, last uint16, protos ...int) tailcfg.FilterRule {
	return tailcfg.FilterRule{
		SrcIPs:   srcs,
		DstPorts: []tailcfg.NetPortRange{{IP: dst, Ports: tailcfg.PortRange{First: first, Last: last}}},
		IPProto:  protos,
	}
}

func from(srcs ...string) []string { return srcs }

func compile(t testing.TB, c Config) *Filter {
	t.Helper()
	f, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
