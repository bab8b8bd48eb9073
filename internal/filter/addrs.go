package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// addrSet is a set of addresses as ranges: sorted, apart from each other, and
// each of one family. Membership is a binary search; a set of 10,000 addresses
// answers in some 100 ns.
type addrSet []addrRange

// addrRange is the addresses between two, both included.
type addrRange struct{ from, to netip.Addr }

var allAddrs = []addrRange{
	prefixRange(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
	prefixRange(netip.PrefixFrom(netip.IPv6Unspecified(), 0)),
}

// newAddrSet makes a set of ranges in any order, which it keeps and changes.
func newAddrSet(ranges []addrRange) addrSet {
	slices.SortFunc(ranges, func(a, b addrRange) int { return a.from.Compare(b.from) })
	set := ranges[:0]
	for _, r := range ranges {
		last := len(set) - 1
		switch {
		case last < 0 || !set[last].reaches(r.from):
			set = append(set, r)
		case set[last].to.Less(r.to):
			set[last].to = r.to
		}
	}
	return slices.Clip(set)
}

// prefixSet makes a set of those prefixes that are valid.
func prefixSet(prefixes []netip.Prefix) addrSet { return newAddrSet(appendPrefixes(nil, prefixes)) }

func appendPrefixes(ranges []addrRange, prefixes []netip.Prefix) []addrRange {
	for _, p := range prefixes {
		if p.IsValid() {
			ranges = append(ranges, prefixRange(p))
		}
	}
	return ranges
}

func (s addrSet) contains(addr netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(s, addr, func(r addrRange, addr netip.Addr) int { return r.to.Compare(addr) })
	return i < len(s) && s[i].contains(addr)
}

// contains relies on netip's order, in which all of IPv4 is before IPv6.
func (r addrRange) contains(addr netip.Addr) bool {
	return r.from.Compare(addr) <= 0 && addr.Compare(r.to) <= 0
}

// reaches reports whether addr, which is not before the range, lies in it or
// follows it at once.
func (r addrRange) reaches(addr netip.Addr) bool {
	return r.contains(addr) || r.to.Next() == addr
}

func prefixRange(p netip.Prefix) addrRange {
	from := p.Masked().Addr()
	to := from.AsSlice()
	for bit := p.Bits(); bit < 8*len(to); bit++ {
		to[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(to)
	return addrRange{from, last}
}

// parseAddrs reads the addresses of a rule: "*", an address, a prefix, or a
// range "a-b".
func parseAddrs(s string) ([]addrRange, error) {
	from, to, isRange := strings.Cut(s, "-")
	switch {
	case s == "*":
		return allAddrs, nil
	case strings.Contains(s, "/"):
		return parsePrefix(s)
	case isRange:
		return parseRange(from, to)
	default:
		return parseRange(s, s)
	}
}

func parsePrefix(s string) ([]addrRange, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, fmt.Errorf("%.80q is no prefix", s)
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("the prefix %v has host bits", p)
	}
	return []addrRange{prefixRange(p)}, nil
}

func parseRange(first, last string) ([]addrRange, error) {
	from, err := parseAddr(first)
	if err != nil {
		return nil, err
	}
	to, err := parseAddr(last)
	if err != nil {
		return nil, err
	}
	if from.BitLen() != to.BitLen() || to.Less(from) {
		return nil, fmt.Errorf("there is no range from %v to %v", from, to)
	}
	return []addrRange{{from, to}}, nil
}

func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%.80q is no address", s)
	}
	return addr, nil
}
