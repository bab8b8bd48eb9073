package netmon

import (
	"io"
	"net/netip"
	"os"
)

// maxRoutes is how much of the routing table is read, about 8,000 routes. The
// default route is among the first.
const maxRoutes = 1 << 20

// hostGateway returns the default router of IPv4. Android does not let
// programs know it.
func hostGateway() (netip.Addr, bool) {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return netip.Addr{}, false
	}
	defer f.Close()
	return parseRoutes(io.LimitReader(f, maxRoutes))
}
