package coord

import (
	"net/netip"
	"testing"
)

func TestAllocate(t *testing.T) {
	a, err := newAllocator(netip.MustParsePrefix("100.64.7.0/29"), netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	next := uint32(1)
	inUse := make(map[netip.Addr]bool)
	taken := func(a netip.Addr) bool { return inUse[a] }
	want := func(what, ip string) {
		t.Helper()
		ipv4, ipv6, err := a.allocate(&next, taken)
		if err != nil || ipv4.String() != ip {
			t.Fatalf("%s: got %v, %v; want %s", what, ipv4, err, ip)
		}
		if inUse[ipv4] || inUse[ipv6] || !meshIPv6.Contains(ipv6) {
			t.Fatalf("%s: %v is in use or not a mesh address", what, ipv6)
		}
		inUse[ipv4], inUse[ipv6] = true, true
	}
	want("the first address is after the network's", "100.64.7.1")
	want("then in order", "100.64.7.2")
	delete(inUse, netip.MustParseAddr("100.64.7.1"))
	delete(inUse, netip.MustParseAddr("fd7a:115c:a1e0::6440:701"))
	want("a free address is not taken again at once", "100.64.7.3")
	want("in order", "100.64.7.4")
	want("in order", "100.64.7.5")
	want("the last address is before the broadcast address", "100.64.7.6")
	want("now the freed one", "100.64.7.1")
	if ipv4, _, err := a.allocate(&next, taken); err == nil {
		t.Errorf("allocated %v of a full prefix", ipv4)
	}
}

func TestAllocateSkipsReserved(t *testing.T) {
	a, _ := newAllocator(netip.MustParsePrefix("100.100.100.0/23"), netip.Prefix{})
	next := uint32(1)
	ipv4, _, err := a.allocate(&next, func(netip.Addr) bool { return false })
	if want := "100.100.101.0"; err != nil || ipv4.String() != want {
		t.Errorf("got %v, %v; want %s, because the resolver of all nodes lives before it", ipv4, err, want)
	}
}

func TestPrefixes(t *testing.T) {
	for _, c := range []struct {
		ipv4, ipv6 string
		ok         bool
	}{
		{"100.64.0.0/10", "fd7a:115c:a1e0::/48", true},
		{"100.64.1.0/30", "fd7a:115c:a1e0:1::/96", true},
		{"100.64.0.0/9", "fd7a:115c:a1e0::/48", false},
		{"100.64.1.0/31", "fd7a:115c:a1e0::/48", false},
		{"10.0.0.0/8", "fd7a:115c:a1e0::/48", false},
		{"100.64.0.0/10", "fd7a:115c:a1e0::/97", false},
		{"100.64.0.0/10", "fd00::/48", false},
		{"fd7a:115c:a1e0::/48", "100.64.0.0/10", false},
	} {
		_, err := newAllocator(netip.MustParsePrefix(c.ipv4), netip.MustParsePrefix(c.ipv6))
		if (err == nil) != c.ok {
			t.Errorf("newAllocator(%s, %s): %v; want ok: %v", c.ipv4, c.ipv6, err, c.ok)
		}
	}
}
