package tsmp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var (
	a4 = netip.MustParseAddr("100.64.0.1")
	b4 = netip.MustParseAddr("100.64.0.2")
	a6 = netip.MustParseAddr("fd7a:115c:a1e0::1")
	b6 = netip.MustParseAddr("fd7a:115c:a1e0::2")

	data = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
)

// packets are laid out by hand from RFC 791 and RFC 8200.
var packets = []struct {
	name   string
	packet Packet
	hex    string
}{
	{
		"a ping over IPv4", Packet{a4, b4, Ping{data}},
		"4500001d 00004000 406371fb 64400001 64400002" + "70 0102030405060708",
	},
	{
		"a pong over IPv4", Packet{b4, a4, Pong{data, 8080}},
		"4500001f 00004000 406371f9 64400002 64400001" + "6f 0102030405060708 1f90",
	},
	{
		"a ping over IPv6", Packet{a6, b6, Ping{data}},
		"60000000 0009 63 40 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002" + "70 0102030405060708",
	},
	{
		"a pong over IPv6", Packet{b6, a6, Pong{Data: data}},
		"60000000 000b 63 40 fd7a115ca1e000000000000000000002 fd7a115ca1e000000000000000000001" + "6f 0102030405060708 0000",
	},
	{
		"a reject", Packet{b6, a6, Reject{Proto: 6, Reason: ReasonACL, SrcPort: 40000, DstPort: 22}},
		"60000000 0007 63 40 fd7a115ca1e000000000000000000002 fd7a115ca1e000000000000000000001" + "21 06 41 9c40 0016",
	},
	{
		"a reject that may be none", Packet{b6, a6, Reject{Proto: 17, Reason: ReasonHostFirewall, SrcPort: 1, DstPort: 53, MaybeBroken: true}},
		"60000000 0008 63 40 fd7a115ca1e000000000000000000002 fd7a115ca1e000000000000000000001" + "21 11 57 0001 0035 01",
	},
	{
		"a disco advert", Packet{b6, a6, DiscoAdvert{[32]byte{0: 0xaa, 31: 0xbb}}},
		"60000000 0021 63 40 fd7a115ca1e000000000000000000002 fd7a115ca1e000000000000000000001" +
			"61 aa000000000000000000000000000000000000000000000000000000000000bb",
	},
}

func TestPackets(t *testing.T) {
	for _, test := range packets {
		want := unhex(t, test.hex)
		got, err := test.packet.Append([]byte("prefix"))
		if got, _ = bytes.CutPrefix(got, []byte("prefix")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%x, %v, want\n%x", test.name, got, err, want)
		}
		if p, err := Parse(want); err != nil || p != test.packet {
			t.Errorf("%s is read as %+v, %v, want %+v", test.name, p, err, test.packet)
		}
		if !Is(want) {
			t.Errorf("%s is not TSMP", test.name)
		}
	}
}

func TestReply(t *testing.T) {
	ping, err := Parse(unhex(t, packets[0].hex))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ping.Reply(Pong{Data: ping.Message.(Ping).Data, PeerAPIPort: 8080}).Append(nil)
	if want := unhex(t, packets[1].hex); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the reply to a ping is\n%x, %v, want\n%x", got, err, want)
	}
	if sum := checksum4(got[:header4Size]); sum != 0 {
		t.Errorf("the checksum of the reply is off by %04x", sum)
	}
}

func TestAppendNeedsOneFamily(t *testing.T) {
	for _, p := range []Packet{{a4, b6, Ping{}}, {a6, b4, Ping{}}, {Message: Ping{}}} {
		if b, err := p.Append(nil); err == nil {
			t.Errorf("a packet from %v to %v is written as %x", p.Src, p.Dst, b)
		}
	}
}

func TestParseOddPackets(t *testing.T) {
	ping4 := "4500001d 00004000 406371fb 64400001 64400002" + "70 0102030405060708"
	ping6 := "60000000 0009 63 40 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002" + "70 0102030405060708"
	edit := func(packet string, at int, with string) string {
		digits := strings.ReplaceAll(packet, " ", "")
		return digits[:2*at] + with + digits[2*at+len(with):]
	}
	for _, test := range []struct {
		name string
		hex  string
		is   bool
		want Message // nil: an error
	}{
		{"nothing", "", false, nil},
		{"half a header", ping4[:20], false, nil},
		{"IPv5", edit(ping4, 0, "55"), false, nil},
		{"UDP", edit(ping4, 9, "11"), false, nil},
		{"what follows the packet is ignored", ping4 + "ffff", true, Ping{data}},
		{"what follows a ping in the packet is ignored", edit(ping4+"ff", 3, "1e"), true, Ping{data}},
		{"a length behind the end", edit(ping4, 3, "1e"), true, nil},
		{"a length within the header", edit(ping4, 3, "13"), true, nil},
		{"a header of 16 bytes", edit(ping4, 0, "44"), true, nil},
		{"a header of 24 bytes has options", edit(strings.ReplaceAll(ping4, "70 ", "00000000 70 "), 0, "46000021"), true, Ping{data}},
		{"a first fragment", edit(ping4, 6, "2000"), true, nil},
		{"a later fragment", edit(ping4, 6, "0010"), true, nil},
		{"a fragment over IPv6", edit(ping6, 6, "2c40"+strings.Repeat("00", 32)+"63"), true, nil},
		{"a length behind the end over IPv6", edit(ping6, 5, "0a"), true, nil},
		{"an empty message", edit(ping6, 5, "00"), true, nil},
		{"a ping that is too short", edit(ping6, 5, "08"), true, nil},
		{"a pong without a port", edit(ping6, 40, "6f"), true, Pong{Data: data}},
		{"a pong that is too short", edit(edit(ping6, 40, "6f"), 5, "08"), true, nil},
		{"a reject that is too short", edit(edit(ping6, 40, "21"), 5, "06"), true, nil},
		{"a disco advert that is too short", edit(ping6, 40, "61"), true, nil},
		{"an unknown type", edit(ping6, 40, "7a"), true, nil},
	} {
		packet := unhex(t, test.hex)
		if got := Is(packet); got != test.is {
			t.Errorf("%s: is TSMP: %v", test.name, got)
		}
		p, err := Parse(packet)
		if (err == nil) != (test.want != nil) || p.Message != test.want {
			t.Errorf("%s: got %+v, %v", test.name, p.Message, err)
		}
	}
	if _, err := Parse(unhex(t, edit(ping6, 40, "7a"))); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a message of type 'z' gives %v, want ErrUnknownType", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range packets {
		packet, _ := test.packet.Append(nil)
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		packet, err := p.Append(nil)
		if err != nil {
			t.Fatalf("%+v was read, but is not written: %v", p, err)
		}
		if again, err := Parse(packet); err != nil || again != p {
			t.Errorf("%+v is read again as %+v, %v", p, again, err)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
