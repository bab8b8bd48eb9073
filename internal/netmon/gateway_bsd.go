//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netmon

import (
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
)

// hostGateway returns the default router of IPv4.
func hostGateway() (netip.Addr, bool) {
	table, err := route.FetchRIB(syscall.AF_INET, route.RIBTypeRoute, 0)
	if err != nil {
		return netip.Addr{}, false
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, table)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, m := range messages {
		if r, ok := m.(*route.RouteMessage); ok && isDefault(r) {
			if gateway, ok := r.Addrs[syscall.RTAX_GATEWAY].(*route.Inet4Addr); ok {
				return netip.AddrFrom4(gateway.IP), true
			}
		}
	}
	return netip.Addr{}, false
}

func isDefault(r *route.RouteMessage) bool {
	const flags = syscall.RTF_UP | syscall.RTF_GATEWAY
	if r.Flags&flags != flags || len(r.Addrs) <= max(syscall.RTAX_DST, syscall.RTAX_GATEWAY, syscall.RTAX_NETMASK) {
		return false
	}
	to, ok := r.Addrs[syscall.RTAX_DST].(*route.Inet4Addr)
	mask, masked := r.Addrs[syscall.RTAX_NETMASK].(*route.Inet4Addr)
	return ok && to.IP == [4]byte{} && (!masked || mask.IP == [4]byte{})
}
