package serve

import (
	"net"
	"net/netip"
	"strings"
)

// Local reports whether only this machine reaches a listener on addr: it is on
// loopback, or on no IP network at all, as Unix sockets and those in memory are.
// An address of a kind unknown that looks like one of IP is taken for one.
func Local(addr net.Addr) bool {
	network := addr.Network()
	if strings.HasPrefix(network, "unix") {
		return true
	}
	host, _, err := net.SplitHostPort(addr.String())
	ip, notIP := netip.ParseAddr(host)
	switch {
	case err == nil && notIP == nil:
		return ip.Unmap().IsLoopback()
	case err == nil && host == "": // all addresses
		return false
	}
	return !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp")
}
