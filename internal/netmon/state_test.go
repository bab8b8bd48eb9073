package netmon

import (
	"net/netip"
	"slices"
	"testing"
)

func prefixes(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrs(all ...string) (out []netip.Addr) {
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestState(t *testing.T) {
	for _, tt := range []struct {
		name string
		raw  raw
		want State
	}{
		{"nothing", raw{}, State{}},
		{
			"in order, each once",
			raw{addrs: prefixes("2001:db8::5/64", "192.0.2.7/24", "192.0.2.3/24", "192.0.2.7/24")},
			State{Addrs: prefixes("192.0.2.3/24", "192.0.2.7/24", "2001:db8::5/64")},
		},
		{
			"those of the default route first",
			raw{
				addrs:    prefixes("10.0.0.1/8", "192.0.2.7/24", "2001:db8::4/64", "2001:db8::5/64"),
				defaults: addrs("192.0.2.7", "2001:db8::5"),
				gateway:  netip.MustParseAddr("192.0.2.1"),
			},
			State{
				Addrs:   prefixes("192.0.2.7/24", "2001:db8::5/64", "10.0.0.1/8", "2001:db8::4/64"),
				Default: addrs("192.0.2.7", "2001:db8::5"),
				Gateway: netip.MustParseAddr("192.0.2.1"),
			},
		},
		{
			"a default route whose address is not listed",
			raw{defaults: addrs("192.0.2.7", "2001:db8::5")},
			State{Addrs: prefixes("192.0.2.7/32", "2001:db8::5/128"), Default: addrs("192.0.2.7", "2001:db8::5")},
		},
		{
			"loopback is left out",
			raw{addrs: prefixes("127.0.0.1/8", "::1/128", "192.0.2.7/24"), defaults: addrs("127.0.0.1")},
			State{Addrs: prefixes("192.0.2.7/24")},
		},
		{
			"unless it is all there is",
			raw{addrs: prefixes("fe80::1/64", "::1/128", "127.0.0.1/8")},
			State{Addrs: prefixes("127.0.0.1/8", "::1/128")},
		},
		{
			"addresses of links, groups and the mesh are left out",
			raw{
				addrs: prefixes("169.254.1.2/16", "fe80::1/64", "224.0.0.1/4", "0.0.0.0/0", "100.64.0.1/32",
					"100.127.255.255/32", "fd7a:115c:a1e0::1/128", "100.128.0.1/24", "fd7a:115c:a1e1::1/64"),
				defaults: addrs("100.100.1.1"),
			},
			State{Addrs: prefixes("100.128.0.1/24", "fd7a:115c:a1e1::1/64")},
		},
		{
			"IPv4 written as IPv6",
			raw{
				addrs:   []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.7"), 120)},
				gateway: netip.MustParseAddr("::ffff:192.0.2.1"),
			},
			State{Addrs: prefixes("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1")},
		},
		{"what is no address", raw{addrs: make([]netip.Prefix, 3), gateway: netip.IPv4Unspecified()}, State{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newState(tt.raw); !got.Equal(tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
			slices.Reverse(tt.raw.addrs)
			if got := newState(tt.raw); !got.Equal(tt.want) {
				t.Errorf("in another order: got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestStateIsBounded(t *testing.T) {
	r := raw{defaults: addrs("192.0.2.7")}
	for i := range 1000 {
		r.addrs = append(r.addrs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 24))
	}
	got := newState(r)
	if len(got.Addrs) != maxAddrs || got.Addrs[0].Addr() != r.defaults[0] {
		t.Errorf("%d addresses, first %v", len(got.Addrs), got.Addrs[0])
	}
}
