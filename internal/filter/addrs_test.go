package filter

import (
	"net/netip"
	"testing"
)

func TestParseAddrs(t *testing.T) {
	for _, test := range []struct {
		entry   string
		inside  string // "": the entry is bad
		outside string
	}{
		{"*", "1.2.3.4", ""},
		{"*", "fd7a::1", ""},
		{"100.64.0.2", "100.64.0.2", "100.64.0.3"},
		{"fd7a::2", "fd7a::2", "fd7a::3"},
		{"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
		{"10.0.0.0/31", "10.0.0.1", "10.0.0.2"},
		{"0.0.0.0/0", "255.255.255.255", "::"},
		{"::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255"},
		{"fd7a::/16", "fd7a:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd7b::"},
		{"10.0.0.5-10.0.0.7", "10.0.0.7", "10.0.0.8"},
		{"10.0.0.5-10.0.0.5", "10.0.0.5", "10.0.0.4"},
		{"2eff::1-2eff::800", "2eff::1", "2eff::"},
		{"10.0.0.1/8", "", ""},
		{"10.0.0.0/33", "", ""},
		{"10.0.0.0/", "", ""},
		{"10.0.0.7-10.0.0.5", "", ""},
		{"10.0.0.5-fd7a::1", "", ""},
		{"10.0.0.5-10.0.0.6-10.0.0.7", "", ""},
		{"10.0.0.5-", "", ""},
		{"-", "", ""},
		{"fe80::1%eth0", "", ""},
		{"", "", ""},
		{"**", "", ""},
		{"host", "", ""},
	} {
		ranges, err := parseAddrs(test.entry)
		if (err == nil) != (test.inside != "") {
			t.Errorf("%q: got error %v", test.entry, err)
			continue
		}
		set := newAddrSet(append([]addrRange(nil), ranges...))
		if test.inside != "" && !set.contains(netip.MustParseAddr(test.inside)) {
			t.Errorf("%q does not contain %s", test.entry, test.inside)
		}
		if test.outside != "" && set.contains(netip.MustParseAddr(test.outside)) {
			t.Errorf("%q contains %s", test.entry, test.outside)
		}
	}
}

func TestAddrSetMerges(t *testing.T) {
	set := prefixSet(prefixes("10.0.0.2/32", "10.0.0.0/31", "10.0.0.0/32", "10.0.0.3/32", "10.0.0.5/32", "::/128", "255.255.255.255/32"))
	for _, addr := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.5", "::", "255.255.255.255"} {
		if !set.contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s is missing", addr)
		}
	}
	for _, addr := range []string{"9.255.255.255", "10.0.0.4", "10.0.0.6", "::1", "::ffff:10.0.0.1"} {
		if set.contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s is in it", addr)
		}
	}
	if set.contains(netip.Addr{}) || prefixSet(make([]netip.Prefix, 1)).contains(netip.Addr{}) {
		t.Error("the zero address is in a set")
	}
}
