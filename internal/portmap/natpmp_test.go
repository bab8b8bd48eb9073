package portmap

import (
	"net/netip"
	"testing"
	"time"
)

func TestNATPMPRequests(t *testing.T) {
	wantHex(t, "the request for the address", appendNATPMPAddress(nil), `00 00`)
	wantHex(t, "the request for a mapping", appendNATPMPMap(nil, 41641, 1234, 2*time.Hour),
		`00 01 00 00  a2 a9 04 d2  00 00 1c 20`)
	wantHex(t, "the request for its end", appendNATPMPMap(nil, 41641, 0, 0),
		`00 01 00 00  a2 a9 00 00  00 00 00 00`)
}

const (
	natpmpExampleAddress = `00 80 00 00  00 00 00 ff  cb 00 71 09`
	natpmpExampleMapping = `00 81 00 00  00 00 00 ff  a2 a9 04 d2  00 00 0e 10`
)

func TestNATPMPReplies(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want natpmpReply
	}{
		{natpmpExampleAddress, natpmpReply{opcode: 0, epoch: 255, address: netip.MustParseAddr("203.0.113.9")}},
		{natpmpExampleMapping, natpmpReply{opcode: 1, epoch: 255, port: 41641, external: 1234, lifetime: time.Hour}},
		{`00 81 00 02  00 00 00 ff`, natpmpReply{opcode: 1, result: 2, epoch: 255}},
		{`00 80 00 01  00 00 00 ff  00 00 00 00`, natpmpReply{opcode: 0, result: 1, epoch: 255}},
	} {
		if got, err := parseNATPMP(fromHex(t, tt.hex)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.hex, got, err, tt.want)
		}
	}
	for name, s := range map[string]string{
		"nothing":           ``,
		"a request":         `00 01 00 00  a2 a9 04 d2  00 00 1c 20`,
		"of PCP":            pcpExampleReply,
		"no address":        `00 80 00 00  00 00 00 ff  cb 00 71`,
		"mapping cut short": `00 81 00 00  00 00 00 ff  a2 a9 04 d2  00 00 0e`,
		"unknown opcode":    `00 82 00 00  00 00 00 ff  a2 a9 04 d2  00 00 0e 10`,
	} {
		if got, err := parseNATPMP(fromHex(t, s)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzParseNATPMP(f *testing.F) {
	f.Add(fromHex(f, natpmpExampleAddress))
	f.Add(fromHex(f, natpmpExampleMapping))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseNATPMP(b); err == nil {
			_ = r.result.String()
		}
	})
}
