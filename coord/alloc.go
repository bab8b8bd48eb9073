package coord

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The ranges that nodes take for mesh addresses; they route no others to their
// peers.
var (
	meshIPv4 = netip.MustParsePrefix("100.64.0.0/10")
	meshIPv6 = netip.MustParsePrefix("fd7a:115c:a1e0::/48")
)

// reserved are the parts of meshIPv4 that no node may have.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("100.100.0.0/24"),   // services of the mesh
	netip.MustParsePrefix("100.100.100.0/24"), // the resolver inside every node
	netip.MustParsePrefix("100.115.92.0/23"),  // ChromeOS uses it between its virtual machines
}

// allocator hands out addresses: IPv4 in order, so that the address of a node
// that was removed comes back as late as possible, and IPv6 with the IPv4
// address in its last 32 bits.
type allocator struct {
	ipv4, ipv6 netip.Prefix
}

func newAllocator(ipv4, ipv6 netip.Prefix) (allocator, error) {
	if !ipv4.IsValid() {
		ipv4 = meshIPv4
	}
	if !ipv6.IsValid() {
		ipv6 = meshIPv6
	}
	for _, p := range []struct {
		is, within netip.Prefix
		bits       int
	}{{ipv4, meshIPv4, 30}, {ipv6, meshIPv6, 96}} {
		if !p.within.Contains(p.is.Addr()) || p.is.Bits() < p.within.Bits() || p.is.Bits() > p.bits {
			return allocator{}, fmt.Errorf("coord: the prefix %v is not within %v, or longer than /%d", p.is, p.within, p.bits)
		}
	}
	return allocator{ipv4: ipv4.Masked(), ipv6: ipv6.Masked()}, nil
}

// allocate returns a free pair of addresses, at the offset next in ipv4 or
// after it, and moves next on.
func (a allocator) allocate(next *uint32, taken func(netip.Addr) bool) (ipv4, ipv6 netip.Addr, err error) {
	size := uint32(1) << (32 - a.ipv4.Bits())
	for range size {
		offset := *next % size
		*next = (offset + 1) % size
		if offset == 0 || offset == size-1 { // network and broadcast address
			continue
		}
		ipv4 = a.ipv4At(offset)
		if isReserved(ipv4) || taken(ipv4) {
			continue
		}
		ipv6 = a.ipv6For(ipv4)
		if !taken(ipv6) {
			return ipv4, ipv6, nil
		}
	}
	return netip.Addr{}, netip.Addr{}, fmt.Errorf("coord: all addresses of %v are in use", a.ipv4)
}

func (a allocator) ipv4At(offset uint32) netip.Addr {
	b := a.ipv4.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+offset)
	return netip.AddrFrom4(b)
}

func (a allocator) ipv6For(ipv4 netip.Addr) netip.Addr {
	b, low := a.ipv6.Addr().As16(), ipv4.As4()
	copy(b[12:], low[:])
	return netip.AddrFrom16(b)
}

func isReserved(a netip.Addr) bool {
	for _, p := range reserved {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
