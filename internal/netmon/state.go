package netmon

import (
	"net/netip"
	"slices"
)

// maxAddrs bounds how many addresses a State has; a host with many containers
// may have thousands.
const maxAddrs = 64

// State is the network as this host sees it.
type State struct {
	// Addrs are our addresses, each with its network: first those that the
	// default route uses, then the others in order, at most 64. Addresses of
	// links and of the mesh are not among them, those of the loopback only if
	// there are no others.
	Addrs []netip.Prefix
	// Default are the addresses that the default route uses, at most one of
	// each family, IPv4 first. None are known when the interfaces were given.
	Default []netip.Addr
	// Gateway is the default router, or invalid when it is not known.
	Gateway netip.Addr
}

// Equal reports whether two states are the same.
func (s State) Equal(t State) bool {
	return slices.Equal(s.Addrs, t.Addrs) && slices.Equal(s.Default, t.Default) && s.Gateway == t.Gateway
}

// raw is what a source says.
type raw struct {
	addrs    []netip.Prefix
	defaults []netip.Addr
	gateway  netip.Addr
}

// newState makes a State of what a source says, which may be anything.
func newState(r raw) State {
	s := State{Gateway: usableGateway(r.gateway)}
	for _, a := range r.defaults {
		if isOurs(a) && !a.IsLoopback() {
			s.Default = append(s.Default, a)
		}
	}
	var loopback []netip.Prefix
	for _, p := range r.addrs {
		p = unmap(p)
		switch {
		case !p.IsValid() || !isOurs(p.Addr()):
		case p.Addr().IsLoopback():
			loopback = append(loopback, p)
		default:
			s.Addrs = append(s.Addrs, p)
		}
	}
	s.addDefaults()
	if len(s.Addrs) == 0 {
		s.Addrs = loopback
	}
	slices.SortFunc(s.Addrs, s.compare)
	s.Addrs = slices.Compact(s.Addrs)
	s.Addrs = slices.Clip(s.Addrs[:min(len(s.Addrs), maxAddrs)])
	return s
}

// addDefaults sees to it that the addresses of the default route are among
// those listed: not every host lists them.
func (s *State) addDefaults() {
	for _, a := range s.Default {
		if !slices.ContainsFunc(s.Addrs, func(p netip.Prefix) bool { return p.Addr() == a }) {
			s.Addrs = append(s.Addrs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
}

// compare orders addresses, those of the default route before others.
func (s *State) compare(p, q netip.Prefix) int {
	first, second := slices.Contains(s.Default, p.Addr()), slices.Contains(s.Default, q.Addr())
	if first != second {
		if first {
			return -1
		}
		return 1
	}
	return p.Compare(q)
}

// isOurs reports whether peers might reach us at an address outside the mesh.
func isOurs(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Zone() != "" {
		return false
	}
	mesh4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)
	mesh6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}), 48)
	return !mesh4.Contains(a) && !mesh6.Contains(a)
}

// usableGateway returns a gateway, or an invalid address if it is none.
// Routers are often known by their link-local IPv6 address.
func usableGateway(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}
	}
	return a
}

// unmap turns an IPv4 address written as one of IPv6 into what it is.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
