package stun

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// unhex reads hex digits; spaces and line breaks are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var count = TxID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// requestOfReference was recorded from tailscale.com/net/stun v1.102.5.
const requestOfReference = `
	0001 0014 2112a442 0102030405060708090a0b0c
	8022 0008 7461696c6e6f6465
	8028 0004 b32c370f`

// The sample responses of RFC 5769, sections 2.2 and 2.3.
const (
	sampleIPv4 = `
		0101 003c 2112a442 b7e7a701bc34d686fa87dfae
		8022 000b 7465737420766563746f7220
		0020 0008 0001a147e112a643
		0008 0014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
		8028 0004 c07d4c96`
	sampleIPv6 = `
		0101 0048 2112a442 b7e7a701bc34d686fa87dfae
		8022 000b 7465737420766563746f7220
		0020 0014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
		0008 0014 a382954e4be67bf11784c97c8292c275bfe3ed41
		8028 0004 c8fb0b4c`
)

func TestRequestBytes(t *testing.T) {
	want := unhex(t, requestOfReference)
	if got := AppendRequest(nil, count); !bytes.Equal(got, want) {
		t.Errorf("request\n got %x\nwant %x", got, want)
	}
	if got := AppendRequest([]byte("before"), count); !bytes.Equal(got[6:], want) {
		t.Errorf("a request appended to something is another: %x", got)
	}
	if tx, err := ParseRequest(want); tx != count || err != nil {
		t.Errorf("ParseRequest = %x, %v", tx, err)
	}
}

func TestRefusedRequests(t *testing.T) {
	good := unhex(t, requestOfReference)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                     {},
		"header only":               unhex(t, "0001 0000 2112a442 0102030405060708090a0b0c"),
		"short header":              good[:19],
		"cut in an attribute":       good[:len(good)-1],
		"a response":                unhex(t, sampleIPv4),
		"other cookie":              change(4, 0x22),
		"other software":            change(24, 'T'),
		"wrong fingerprint":         change(39, 0),
		"attribute longer than all": change(23, 0xff),
		"length past the end":       change(3, 0x18),
		"attribute after the fingerprint": unhex(t, `
			0001 0018 2112a442 0102030405060708090a0b0c
			8022 0008 7461696c6e6f6465
			8028 0004 b32c370f
			8023 0000`),
	} {
		if _, err := ParseRequest(b); err == nil {
			t.Errorf("%s: the request was accepted", name)
		}
	}
}

func TestResponseBytes(t *testing.T) {
	for addr, want := range map[string]string{
		// Recorded from tailscale.com/net/stun v1.102.5.
		"203.0.113.7:41641":   "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 000183bbea12d545",
		"[2001:db8::7]:41641": "01010018 2112a442 0102030405060708090a0b0c 0020 0014 000283bb0113a9fa0102030405060708090a0b0b",
		// A dual-stack socket sees IPv4 senders so.
		"[::ffff:203.0.113.7]:41641": "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 000183bbea12d545",
	} {
		got := AppendResponse(nil, count, netip.MustParseAddrPort(addr))
		if !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("response for %s = %x", addr, got)
		}
	}
}

func TestParseResponse(t *testing.T) {
	tests := []struct{ name, packet, want string }{
		{"RFC 5769 IPv4", sampleIPv4, "192.0.2.1:32853"},
		{"RFC 5769 IPv6", sampleIPv6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"},
		{"draft attribute number", "0101000c 2112a442 0102030405060708090a0b0c 8020 0008 000183bbea12d545", "203.0.113.7:41641"},
		{"only MAPPED-ADDRESS", "0101000c 2112a442 0102030405060708090a0b0c 0001 0008 0001a2a9cb007107", "203.0.113.7:41641"},
		{"XOR-MAPPED-ADDRESS wins", `01010018 2112a442 0102030405060708090a0b0c
			0001 0008 0001a2a90a000001
			0020 0008 000183bbea12d545`, "203.0.113.7:41641"},
		{"IPv4 in IPv6", "01010018 2112a442 0102030405060708090a0b0c 0001 0014 0002a2a9 00000000000000000000ffffcb007107", "203.0.113.7:41641"},
		{"bytes behind", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 000183bbea12d545 ffffffff", "203.0.113.7:41641"},
		{"no attributes", "01010000 2112a442 0102030405060708090a0b0c", ""},
		{"error response", "0111000c 2112a442 0102030405060708090a0b0c 0020 0008 000183bbea12d545", ""},
		{"unknown family", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 000383bbea12d545", ""},
		{"IPv6 with four bytes", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 000283bbea12d545", ""},
		{"address of no bytes", "01010004 2112a442 0102030405060708090a0b0c 0020 0000", ""},
		{"cut attribute header", "01010002 2112a442 0102030405060708090a0b0c 0020", ""},
		{"our own request", requestOfReference, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := unhex(t, test.packet)
			tx, addr, err := ParseResponse(b)
			if test.want == "" {
				if err == nil {
					t.Errorf("accepted as %v", addr)
				}
				return
			}
			if err != nil || addr != netip.MustParseAddrPort(test.want) || tx != TxID(b[8:20]) {
				t.Errorf("ParseResponse = %x, %v, %v; want %s", tx, addr, err, test.want)
			}
		})
	}
}

func TestIs(t *testing.T) {
	for name, test := range map[string]struct {
		packet string
		want   bool
	}{
		"request":   {requestOfReference, true},
		"response":  {sampleIPv4, true},
		"disco":     {"5453f09f92ac 0000000000000000000000000000", false},
		"WireGuard": {"01000000 2112a443 000000000000000000000000", false},
		"short":     {"00010000 2112a442 0102030405060708090a0b", false},
	} {
		if got := Is(unhex(t, test.packet)); got != test.want {
			t.Errorf("Is(%s) = %v", name, got)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	buf := make([]byte, 0, 64)
	addr := netip.MustParseAddrPort("203.0.113.7:41641")
	if n := testing.AllocsPerRun(100, func() {
		b := AppendRequest(buf, count)
		if _, err := ParseRequest(b); err != nil {
			t.Fatal(err)
		}
		b = AppendResponse(buf, count, addr)
		if _, _, err := ParseResponse(b); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a request and its response", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{requestOfReference, sampleIPv4, sampleIPv6, ""} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if tx, err := ParseRequest(b); err == nil && (!Is(b) || tx != TxID(b[8:20])) {
			t.Errorf("accepted request %x with ID %x", b, tx)
		}
		tx, addr, err := ParseResponse(b)
		if err != nil {
			return
		}
		tx2, addr2, err := ParseResponse(AppendResponse(nil, tx, addr))
		if tx2 != tx || addr2 != addr || err != nil {
			t.Errorf("%x, %v became %x, %v, %v", tx, addr, tx2, addr2, err)
		}
	})
}
