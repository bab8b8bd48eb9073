package serve

import (
	"net"
	"net/netip"
)

// Local reports whether only this machine reaches a listener on addr: it is on
// loopback, or on no IP network at all, as Unix sockets and those in memory are.
func Local(addr net.Addr) bool {
	switch addr.Network() {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		at, err := netip.ParseAddrPort(addr.String())
		return err == nil && at.Addr().Unmap().IsLoopback()
	}
	return true
}
