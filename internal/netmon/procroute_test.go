package netmon

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const routesHead = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

// routeLine is a line of /proc/net/route.
func routeLine(to, via, mask string, flags, metric int) string {
	hex := func(s string) string {
		raw := netip.MustParseAddr(s).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(raw[:]))
	}
	return fmt.Sprintf("eth0\t%s\t%s\t%04X\t0\t0\t%d\t%s\t0\t0\t0\n", hex(to), hex(via), flags, metric, hex(mask))
}

func TestParseRoutes(t *testing.T) {
	const none = "0.0.0.0"
	lan := routeLine("192.0.2.0", none, "255.255.255.0", 1, 0)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"no routes", routesHead, ""},
		{"no default route", routesHead + lan + routeLine("10.0.0.0", "192.0.2.9", "255.0.0.0", 3, 0), ""},
		{"a default route", routesHead + routeLine(none, "192.0.2.1", none, 3, 100) + lan, "192.0.2.1"},
		{"the lowest metric", routesHead + routeLine(none, "192.0.2.1", none, 3, 600) + routeLine(none, "198.51.100.1", none, 3, 100), "198.51.100.1"},
		{"one that is down", routesHead + routeLine(none, "192.0.2.1", none, 2, 0), ""},
		{"one without a gateway", routesHead + routeLine(none, none, none, 1, 0), ""},
		{"half of everything", routesHead + routeLine(none, "192.0.2.1", "128.0.0.0", 3, 0), ""},
		{"rubbish", routesHead + "eth0 00000000 zz 0003 0 0 0 00000000\na b\n\n" + lan, ""},
	} {
		gateway, ok := parseRoutes(strings.NewReader(tt.text))
		if ok != (tt.want != "") || ok && gateway.String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, gateway, ok, tt.want)
		}
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add("")
	f.Add(routesHead + routeLine("0.0.0.0", "192.0.2.1", "0.0.0.0", 3, 100))
	f.Add("eth0 00000000 010200C0 0003 0 0 99999999999 00000000")
	f.Fuzz(func(t *testing.T, text string) {
		gateway, ok := parseRoutes(strings.NewReader(text))
		if ok != gateway.Is4() || ok && gateway.IsUnspecified() {
			t.Errorf("gateway %v, %v", gateway, ok)
		}
	})
}
