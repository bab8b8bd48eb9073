package pcapng

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Files as the specification has them, worked out by hand: block by block, field
// by field.
func TestBlocks(t *testing.T) {
	at := time.Unix(0, 0x1122334455667788)
	for name, test := range map[string]struct {
		got  []byte
		want string
	}{
		"header": {AppendHeader(nil, "meshnet", "me", 0x40000), `
			0a0d0d0a 2c000000 4d3c2b1a 0100 0000 ffffffffffffffff  0400 0700 6d6573686e657400  0000 0000 2c000000
			01000000 28000000 6500 0000 00000400  0200 0200 6d650000  0900 0100 09000000  0000 0000 28000000`},
		"IPv4 name": {AppendName(nil, netip.MustParseAddr("100.64.0.1"), "a.b"), `
			04000000 1c000000 0100 0800 64400001 612e6200  0000 0000 1c000000`},
		"IPv6 name": {AppendName(nil, netip.MustParseAddr("fd7a::1"), "ab"), `
			04000000 28000000 0200 1300 fd7a0000000000000000000000000001 616200 00  0000 0000 28000000`},
		"packet": {AppendPacket(nil, Packet{Time: at, Data: []byte("hello"), Size: 9}), `
			06000000 34000000 00000000 44332211 88776655 05000000 09000000 68656c6c6f000000
			0200 0400 01000000  0000 0000 34000000`},
		"packet with all": {AppendPacket(nil, Packet{Time: at, Outgoing: true, Data: []byte("hell"), Size: 4, Lost: 3, Comment: "no"}), `
			06000000 44000000 00000000 44332211 88776655 04000000 04000000 68656c6c
			0200 0400 02000000  0400 0800 0300000000000000  0100 0200 6e6f0000  0000 0000 44000000`},
		"statistics": {AppendStatistics(nil, at, 7, 1), `
			05000000 34000000 00000000 44332211 88776655  0400 0800 0700000000000000  0500 0800 0100000000000000  0000 0000 34000000`},
	} {
		if got, want := hex.EncodeToString(test.got), strings.Join(strings.Fields(test.want), ""); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	long := strings.Repeat("x", 1<<17)
	for name, b := range map[string][]byte{
		"comment": AppendPacket(nil, Packet{Comment: long}),
		"name":    AppendName(nil, netip.MustParseAddr("::1"), long),
	} {
		if len(b) > 1<<16+Overhead || len(b)%4 != 0 {
			t.Errorf("%s: a block of %d bytes", name, len(b))
		}
	}
}

func TestOverhead(t *testing.T) {
	b := AppendPacket(nil, Packet{Data: []byte("12345"), Size: 5, Lost: 1, Comment: "12345"})
	if len(b)-10 > Overhead {
		t.Errorf("%d bytes besides data and comment", len(b)-10)
	}
}

func TestAppendPacketAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, 4<<10)
	p := Packet{Time: time.Unix(1, 2), Data: make([]byte, 1280), Size: 1280, Comment: "dropped"}
	if n := testing.AllocsPerRun(100, func() { AppendPacket(b, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
