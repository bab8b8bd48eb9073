package disco

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/key"
)

var (
	tx      = TxID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	nodeKey = key.NodePublicFromRaw32([32]byte{0: 0xaa, 31: 0xbb})
)

const (
	txHex  = "0102030405060708090a0b0c"
	keyHex = "aa000000000000000000000000000000000000000000000000000000000000bb"
	ep4Hex = "00000000000000000000ffff010203040567"
	ep6Hex = "200100000000000000000000000034560315"
)

var messages = []struct {
	name    string
	message Message
	hex     string
}{
	{"a ping", Ping{TxID: tx, NodeKey: nodeKey}, "0100" + txHex + keyHex},
	{"a padded ping", Ping{TxID: tx, NodeKey: nodeKey, Padding: 3}, "0100" + txHex + keyHex + "000000"},
	{"a pong to IPv4", Pong{tx, netip.MustParseAddrPort("1.2.3.4:1383")}, "0200" + txHex + ep4Hex},
	{"a pong to IPv6", Pong{tx, netip.MustParseAddrPort("[2001::3456]:789")}, "0200" + txHex + ep6Hex},
	{"a pong through region 5", Pong{tx, RegionAddr(5)}, "0200" + txHex + "00000000000000000000ffff7f0303280005"},
	{"a call-me-maybe without endpoints", CallMeMaybe{[]netip.AddrPort{}}, "0300"},
	{"a call-me-maybe", CallMeMaybe{[]netip.AddrPort{
		netip.MustParseAddrPort("1.2.3.4:1383"), netip.MustParseAddrPort("[2001::3456]:789"),
	}}, "0300" + ep4Hex + ep6Hex},
	{"a hello", Hello{Public: []netip.AddrPort{}}, "6d000000"},
	{"a hello of one behind a hard NAT who will probe", Hello{Answer: true, Probe: true, NAT: HardNAT, Public: []netip.AddrPort{
		netip.MustParseAddrPort("1.2.3.4:1383"),
	}}, "6d000302" + ep4Hex},
	{"a key offer", KeyOffer{ID: OfferID{1, 2}, Key: [1184]byte{0: 3, 1183: 4}},
		"6b00" + "0102000000000000" + "03" + strings.Repeat("00", 1182) + "04"},
	{"a key answer", KeyAnswer{ID: OfferID{1, 2}, Ciphertext: [1088]byte{0: 3, 1087: 4}},
		"6c00" + "0102000000000000" + "03" + strings.Repeat("00", 1086) + "04"},
	{"a key answer that declines", KeyAnswer{ID: OfferID{1, 2}, Declined: true}, "6c00" + "0102000000000000"},
}

func TestMessages(t *testing.T) {
	for _, test := range messages {
		if got := hex.EncodeToString(test.message.Append(nil)); got != test.hex {
			t.Errorf("%s is written as\n%s, want\n%s", test.name, got, test.hex)
		}
		got, err := Parse(unhex(t, test.hex))
		if err != nil || !reflect.DeepEqual(got, test.message) {
			t.Errorf("%s is read as %+v, %v, want %+v", test.name, got, err, test.message)
		}
	}
}

func TestParseOddMessages(t *testing.T) {
	ep4 := netip.MustParseAddrPort("1.2.3.4:1383")
	for _, test := range []struct {
		name string
		hex  string
		want Message // nil: an error
	}{
		{"a ping of an old node has no node key", "0100" + txHex, Ping{TxID: tx}},
		{"a ping of version 9 is a ping", "0109" + txHex + keyHex, Ping{TxID: tx, NodeKey: nodeKey}},
		{"what follows a pong is ignored", "0200" + txHex + ep4Hex + "ff", Pong{tx, ep4}},
		{"what follows the endpoints of a call-me-maybe is ignored", "0300" + ep4Hex + "ff", CallMeMaybe{[]netip.AddrPort{ep4}}},
		{"a call-me-maybe of version 1 is a call", "0301" + ep4Hex, CallMeMaybe{}},
		{"unknown flags of a hello are ignored", "6d00fc00", Hello{Public: []netip.AddrPort{}}},
		{"a hello of version 1 is a hello", "6d01", Hello{}},
		{"a hello needs its NAT", "6d0000", nil},
		{"nothing is no message", "", nil},
		{"a type alone is no message", "01", nil},
		{"a ping needs its transaction", "0100" + txHex[2:], nil},
		{"a pong needs its address", "0200" + txHex + ep4Hex[2:], nil},
		{"an unknown type is an error", "0400" + txHex, nil},
	} {
		got, err := Parse(unhex(t, test.hex))
		if (err != nil) != (test.want == nil) || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, %v", test.name, got, err)
		}
	}
}

func TestUnknownTypeIsDistinct(t *testing.T) {
	if _, err := Parse([]byte{7, 0}); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a message of type 7 gives %v, want ErrUnknownType", err)
	}
	if _, err := Parse([]byte{1, 0}); errors.Is(err, ErrUnknownType) {
		t.Errorf("a short ping gives %v, but its type is known", err)
	}
}

func TestCallMeMaybeIsBounded(t *testing.T) {
	got, err := Parse(append([]byte{3, 0}, make([]byte, 60000)...))
	if err != nil || len(got.(CallMeMaybe).Endpoints) != MaxEndpoints {
		t.Errorf("a call-me-maybe of 60,000 bytes has %d endpoints, %v, want %d", len(got.(CallMeMaybe).Endpoints), err, MaxEndpoints)
	}
}

func TestEnvelope(t *testing.T) {
	alice, bob, eve := key.NewDisco(), key.NewDisco(), key.NewDisco()
	toBob, toAlice := alice.Shared(bob.Public()), bob.Shared(alice.Public())
	packet := Seal([]byte("prefix"), alice.Public(), &toBob, Ping{TxID: tx, NodeKey: nodeKey})
	packet, found := bytes.CutPrefix(packet, []byte("prefix"))
	if !found {
		t.Fatal("Seal does not append")
	}

	if len(packet) != 124 {
		t.Errorf("a ping is a packet of %d bytes, want 124", len(packet))
	}
	if from, ok := Source(packet); !ok || from != alice.Public() {
		t.Errorf("the packet is from %v, %v, want Alice", from, ok)
	}
	if m, err := Open(packet, &toAlice); err != nil || m != (Ping{TxID: tx, NodeKey: nodeKey}) {
		t.Errorf("Bob opens %+v, %v", m, err)
	}
	wrong := eve.Shared(alice.Public())
	if m, err := Open(packet, &wrong); err == nil {
		t.Errorf("Eve opens %+v", m)
	}
	packet[len(packet)-1] ^= 1
	if m, err := Open(packet, &toAlice); err == nil {
		t.Errorf("a damaged packet opens to %+v", m)
	}
}

func TestLooks(t *testing.T) {
	head := magic + strings.Repeat("k", key.Size)
	for _, test := range []struct {
		name   string
		packet string
		want   bool
	}{
		{"nothing", "", false},
		{"the magic alone", magic, false},
		{"one byte less than magic and key", head[:len(head)-1], false},
		{"magic and key", head, true},
		{"another magic", "X" + head[1:], false},
		{"a WireGuard initiation", "\x01" + strings.Repeat("\x00", 147), false},
	} {
		packet := []byte(test.packet)
		if got := Looks(packet); got != test.want {
			t.Errorf("%s looks like disco: %v", test.name, got)
		}
		if _, ok := Source(packet); ok != test.want {
			t.Errorf("%s has a source: %v", test.name, ok)
		}
		if m, err := Open(packet, new(key.DiscoShared)); err == nil {
			t.Errorf("%s opens to %+v", test.name, m)
		}
	}
}

func TestRegionAddr(t *testing.T) {
	for _, region := range []int{1, 900, 65535} {
		if got, ok := Region(RegionAddr(region)); !ok || got != region {
			t.Errorf("region %d becomes %d, %v", region, got, ok)
		}
	}
	for _, region := range []int{-1, 0, 65536} {
		if addr := RegionAddr(region); addr.IsValid() {
			t.Errorf("region %d has the address %v", region, addr)
		}
	}
	for _, addr := range []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:5"), netip.MustParseAddrPort("127.3.3.40:0")} {
		if region, ok := Region(addr); ok || region != 0 {
			t.Errorf("%v stands for region %d", addr, region)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range messages {
		f.Add(test.message.Append(nil))
	}
	f.Add([]byte{4, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if ping, ok := m.(Ping); ok && ping.NodeKey.IsZero() {
			return // its key is written though it may not have been read
		}
		if call, ok := m.(CallMeMaybe); ok && len(call.Endpoints) == 0 {
			return // of an unknown version
		}
		if hello, ok := m.(Hello); ok && hello.Public == nil {
			return // of an unknown version
		}
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v is read again as %+v, %v", m, again, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	alice, bob := key.NewDisco(), key.NewDisco()
	shared := alice.Shared(bob.Public())
	f.Add(Seal(nil, alice.Public(), &shared, Ping{TxID: tx}))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Source(b)
		_, _ = Open(b, &shared)
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
