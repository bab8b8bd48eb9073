package netstack

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// toTCPIP turns addr into gVisor's form, where the zero Addr is "any address".
func toTCPIP(addr netip.Addr) tcpip.Address {
	if !addr.IsValid() {
		return tcpip.Address{}
	}
	return tcpip.AddrFromSlice(addr.Unmap().AsSlice())
}

// fromTCPIP is the inverse of toTCPIP.
func fromTCPIP(addr tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(addr.AsSlice())
	return ip.Unmap()
}

func toFull(addr netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: toTCPIP(addr.Addr()), Port: addr.Port()}
}

func fromFull(addr tcpip.FullAddress) netip.AddrPort {
	return netip.AddrPortFrom(fromTCPIP(addr.Addr), addr.Port)
}

// familyOf says by which protocol packets to addr travel.
func familyOf(addr netip.Addr) tcpip.NetworkProtocolNumber {
	if addr.Unmap().Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}

// A binding is where a listening socket listens: the family of the socket, the
// address it binds (zero: all of them), and the address it shows to users.
type binding struct {
	family tcpip.NetworkProtocolNumber
	only6  bool
	bind   netip.AddrPort
	shown  netip.AddrPort // with port 0 until it is bound
}

// bindingFor applies the rules of net.Listen: "tcp" and "udp" on a wildcard
// address, of either family or none, serve IPv4 and IPv6; a digit at the end
// restricts the socket to its family.
func bindingFor(network, transport string, addr netip.AddrPort) (binding, error) {
	ip := addr.Addr().Unmap()
	wildcard := !ip.IsValid() || ip.IsUnspecified()
	mismatch := func(why string) (binding, error) {
		return binding{}, &net.AddrError{Err: why, Addr: ip.String()}
	}
	b := binding{family: header.IPv6ProtocolNumber, shown: netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())}
	switch network {
	case transport:
	case transport + "4":
		if ip.Is6() {
			return mismatch("non-IPv4 address")
		}
		b.family = header.IPv4ProtocolNumber
		b.shown = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
	case transport + "6":
		if ip.Is4() {
			return mismatch("non-IPv6 address")
		}
		b.only6 = true
	default:
		return binding{}, net.UnknownNetworkError(network)
	}
	b.bind = netip.AddrPortFrom(netip.Addr{}, addr.Port())
	if !wildcard {
		b.family = familyOf(ip)
		b.bind = netip.AddrPortFrom(ip, addr.Port())
		b.shown = b.bind
	}
	return b, nil
}

// overlaps says whether connections could be meant for both a and b.
func (b binding) overlaps(other binding) bool {
	if b.bind.Port() != other.bind.Port() || b.family != other.family && !b.dual() && !other.dual() {
		return false
	}
	return !b.bind.Addr().IsValid() || !other.bind.Addr().IsValid() || b.bind.Addr() == other.bind.Addr()
}

// dual says whether the socket serves both families.
func (b binding) dual() bool {
	return b.family == header.IPv6ProtocolNumber && !b.only6 && !b.bind.Addr().IsValid()
}

// takes returns an error when a socket bound like this cannot send to addr.
func (b binding) takes(addr netip.Addr) error {
	switch {
	case b.dual() || familyOf(addr) == b.family:
		return nil
	case addr.Is4():
		return &net.AddrError{Err: "non-IPv6 address", Addr: addr.String()}
	default:
		return &net.AddrError{Err: "non-IPv4 address", Addr: addr.String()}
	}
}

// apply binds ep, and puts the port it got where b had 0.
func (b *binding) apply(ep tcpip.Endpoint) error {
	ep.SocketOptions().SetV6Only(b.only6)
	if err := ep.Bind(toFull(b.bind)); err != nil {
		return errno(err)
	}
	bound, err := ep.GetLocalAddress()
	if err != nil {
		return errno(err)
	}
	b.bind = netip.AddrPortFrom(b.bind.Addr(), bound.Port)
	b.shown = netip.AddrPortFrom(b.shown.Addr(), bound.Port)
	return nil
}

// destination returns where to send what users of net address to remote: the
// unspecified address means our own host, and the loopback addresses are not
// in the mesh.
func (s *Stack) destination(remote netip.AddrPort) (netip.AddrPort, error) {
	ip := remote.Addr().Unmap()
	switch {
	case !ip.IsValid():
		return remote, &net.AddrError{Err: "missing address"}
	case ip.IsLoopback():
		return remote, syscall.ENETUNREACH
	case ip.IsUnspecified():
		own := *s.addrs.Load()
		i := slices.IndexFunc(own, func(addr netip.Addr) bool { return addr.Is4() == ip.Is4() })
		if i < 0 {
			return remote, syscall.ENETUNREACH
		}
		ip = own[i]
	}
	return netip.AddrPortFrom(ip, remote.Port()), nil
}
