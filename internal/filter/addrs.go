package filter

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

// addrRange is the addresses between two of one family, both included.
type addrRange = netipx.IPRange

// addrSet is a set of addresses; the zero addrSet has none. Membership is a
// binary search among ranges.
type addrSet struct{ set *netipx.IPSet }

// allAddrs is what "*" stands for.
func allAddrs() []addrRange {
	return []addrRange{
		netipx.RangeOfPrefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		netipx.RangeOfPrefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0)),
	}
}

// newAddrSet makes a set of ranges, all of them valid.
func newAddrSet(ranges []addrRange) addrSet {
	if len(ranges) == 0 {
		return addrSet{}
	}
	var b netipx.IPSetBuilder
	for _, r := range ranges {
		b.AddRange(r)
	}
	set, _ := b.IPSet() // fails for invalid ranges alone
	return addrSet{set}
}

// prefixSet makes a set of those prefixes that are valid.
func prefixSet(prefixes []netip.Prefix) addrSet { return newAddrSet(appendPrefixes(nil, prefixes)) }

func appendPrefixes(ranges []addrRange, prefixes []netip.Prefix) []addrRange {
	for _, p := range prefixes {
		if p.IsValid() {
			ranges = append(ranges, netipx.RangeOfPrefix(p))
		}
	}
	return ranges
}

func (s addrSet) empty() bool { return s.set == nil }

func (s addrSet) contains(addr netip.Addr) bool { return s.set != nil && s.set.Contains(addr) }

// parseAddrs reads the addresses of a rule: "*", an address, a prefix, or a
// range "a-b".
func parseAddrs(s string) ([]addrRange, error) {
	switch {
	case s == "*":
		return allAddrs(), nil
	case strings.Contains(s, "/"):
		return parsePrefix(s)
	case strings.Contains(s, "-"):
		return parseRange(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return nil, fmt.Errorf("%.80q is no address", s)
	}
	return []addrRange{netipx.IPRangeFrom(addr, addr)}, nil
}

func parsePrefix(s string) ([]addrRange, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, fmt.Errorf("%.80q is no prefix", s)
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("the prefix %v has host bits", p)
	}
	return []addrRange{netipx.RangeOfPrefix(p)}, nil
}

func parseRange(s string) ([]addrRange, error) {
	r, err := netipx.ParseIPRange(s)
	if err != nil || !r.IsValid() {
		return nil, fmt.Errorf("%.80q is no range of addresses", s)
	}
	return []addrRange{r}, nil
}
