package portmap

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != strings.Join(strings.Fields(want), "") {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}

var (
	self = netip.MustParseAddr("192.168.1.7")
	gate = netip.MustParseAddr("192.168.1.1")

	pcpExample = pcpMapRequest{
		self:     self,
		nonce:    pcpNonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		port:     41641,
		external: netip.MustParseAddrPort("0.0.0.0:41641"),
		lifetime: 2 * time.Hour,
	}
)

const pcpExampleReply = `
	02 81 00 00  00 00 0e 10  00 00 00 ff  00 00 00 00 00 00 00 00 00 00 00 00
	01 02 03 04 05 06 07 08 09 0a 0b 0c  11 00 00 00  a2 a9 04 d2
	00 00 00 00 00 00 00 00 00 00 ff ff cb 00 71 09`

func TestPCPRequests(t *testing.T) {
	wantHex(t, "ANNOUNCE", appendPCPAnnounce(nil, self),
		`02 00 00 00  00 00 00 00  00 00 00 00 00 00 00 00 00 00 ff ff c0 a8 01 07`)
	wantHex(t, "MAP", appendPCPMap(nil, pcpExample), `
		02 01 00 00  00 00 1c 20  00 00 00 00 00 00 00 00 00 00 ff ff c0 a8 01 07
		01 02 03 04 05 06 07 08 09 0a 0b 0c  11 00 00 00  a2 a9 a2 a9
		00 00 00 00 00 00 00 00 00 00 ff ff 00 00 00 00`)
}

func TestPCPReply(t *testing.T) {
	r, err := parsePCP(fromHex(t, pcpExampleReply))
	if err != nil {
		t.Fatal(err)
	}
	want := pcpReply{
		opcode:   pcpMap,
		epoch:    255,
		lifetime: time.Hour,
		nonce:    pcpExample.nonce,
		port:     41641,
		external: netip.MustParseAddrPort("203.0.113.9:1234"),
	}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if !r.answers(pcpExample) {
		t.Error("it does not answer the request")
	}
	other := pcpExample
	other.nonce[0]++
	if r.answers(other) {
		t.Error("it answers a request with another nonce")
	}
	other = pcpExample
	other.port++
	if r.answers(other) {
		t.Error("it answers a request for another port")
	}
}

func TestPCPRefusalMayBeShort(t *testing.T) {
	r, err := parsePCP(fromHex(t, `02 81 00 08  00 00 00 1e  00 00 00 ff  00 00 00 00 00 00 00 00 00 00 00 00`))
	if err != nil || !r.answers(pcpExample) || r.result.String() != "no resources" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestNotPCP(t *testing.T) {
	reply := fromHex(t, pcpExampleReply)
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"a request":          appendPCPMap(nil, pcpExample),
		"of NAT-PMP":         append([]byte{0}, reply[1:]...),
		"cut in the header":  reply[:23],
		"success cut short":  reply[:24],
		"cut in the mapping": reply[:59],
		"of TCP":             append(append(reply[:36:36], 6), reply[37:]...),
	} {
		if r, err := parsePCP(b); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, err := parsePCP(append(reply, 0, 0, 0, 0)); err != nil {
		t.Errorf("with an option: %v", err)
	}
}

func FuzzParsePCP(f *testing.F) {
	f.Add(fromHex(f, pcpExampleReply))
	f.Add(fromHex(f, pcpExampleReply)[:24])
	f.Add(appendPCPAnnounce(nil, self))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parsePCP(b); err == nil {
			r.answers(pcpExample)
			_ = r.result.String()
		}
	})
}
