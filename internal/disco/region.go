package disco

import (
	"math"
	"net/netip"
)

// regionIP stands for "through a relay" where the protocols have room for an
// address only; the port is the relay's region.
var regionIP = netip.AddrFrom4([4]byte{127, 3, 3, 40})

// RegionAddr returns the address that stands for a relay region in a [Pong],
// or the zero AddrPort when region is not between 1 and 65535.
func RegionAddr(region int) netip.AddrPort {
	if region < 1 || region > math.MaxUint16 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(regionIP, uint16(region))
}

// Region returns the relay region that an address stands for. It reports false
// for an ordinary address.
func Region(addr netip.AddrPort) (region int, ok bool) {
	if addr.Addr() != regionIP || addr.Port() == 0 {
		return 0, false
	}
	return int(addr.Port()), true
}
