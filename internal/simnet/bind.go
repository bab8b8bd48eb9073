package simnet

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The ports of sockets that asked for none: those of Linux.
const (
	firstEphemeral = 32768
	ephemeralCount = 28232
)

// A binding is where a socket receives.
type binding struct {
	network string     // "udp4", for errors
	addr    netip.Addr // zero: all addresses
	port    uint16
	ip4     bool // it takes IPv4
	ip6     bool
}

// bindingFor reads what users of net give to Listen and ListenPacket.
func (n *Network) bindingFor(network, proto, addr string) (binding, error) {
	b := binding{network: network, ip4: true, ip6: true}
	switch network {
	case proto:
	case proto + "4":
		b.ip6 = false
	case proto + "6":
		b.ip4 = false
	default:
		return b, net.UnknownNetworkError(network)
	}
	if addr == "" {
		return b, nil
	}
	addrs, port, err := n.resolve(addr)
	if err != nil {
		return b, err
	}
	b.port = port
	if len(addrs) == 0 {
		return b, nil
	}
	i := slices.IndexFunc(addrs, b.takes)
	if i < 0 {
		return b, b.mismatch(addrs[0])
	}
	if !addrs[i].IsUnspecified() { // which means all that the network takes
		b.addr = addrs[i]
		b.ip4, b.ip6 = b.addr.Is4(), b.addr.Is6()
	}
	return b, nil
}

// mismatch is the error for an address that is not of the socket's family.
func (b binding) mismatch(addr netip.Addr) error {
	why := "non-IPv4 address"
	if addr.Is4() {
		why = "non-IPv6 address"
	}
	return &net.AddrError{Err: why, Addr: addr.String()}
}

// takes says whether the socket is of the family of an address.
func (b binding) takes(addr netip.Addr) bool { return addr.Is4() && b.ip4 || addr.Is6() && b.ip6 }

// hears says whether packets to an address are for the socket.
func (b binding) hears(addr netip.Addr) bool {
	return b.takes(addr) && (!b.addr.IsValid() || b.addr == addr)
}

// clashes says whether two sockets on one port would hear the same.
func (b binding) clashes(other binding) bool {
	return (b.ip4 && other.ip4 || b.ip6 && other.ip6) &&
		(!b.addr.IsValid() || !other.addr.IsValid() || b.addr == other.addr)
}

// shown is the local address as users see it.
func (b binding) shown() netip.AddrPort {
	switch {
	case b.addr.IsValid():
		return netip.AddrPortFrom(b.addr, b.port)
	case b.ip6:
		return netip.AddrPortFrom(netip.IPv6Unspecified(), b.port)
	default:
		return netip.AddrPortFrom(netip.IPv4Unspecified(), b.port)
	}
}

// destination checks where to send to. The unspecified address is the host.
func (b binding) destination(to netip.AddrPort) (netip.AddrPort, error) {
	addr := to.Addr().Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return to, &net.AddrError{Err: "missing address"}
	case !b.takes(addr):
		return to, b.mismatch(addr)
	case to.Port() == 0:
		return to, syscall.EINVAL
	}
	return netip.AddrPortFrom(loopback(addr), to.Port()), nil
}

// loopback returns addr, or the loopback address if it is unspecified.
func loopback(addr netip.Addr) netip.Addr {
	switch {
	case !addr.IsUnspecified():
		return addr
	case addr.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		return netip.IPv6Loopback()
	}
}

// resolve reads host and port; an empty host has no addresses.
func (n *Network) resolve(addr string) ([]netip.Addr, uint16, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, 0, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	addrs, err := n.lookup(host)
	return addrs, uint16(port), err
}

func (n *Network) lookup(host string) ([]netip.Addr, error) {
	if host == "" {
		return nil, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap().WithZone("")}, nil
	}
	n.lock()
	defer n.unlock()
	addrs := n.names[strings.TrimSuffix(host, ".")]
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case host == "localhost":
		return []netip.Addr{loopback(netip.IPv4Unspecified()), netip.IPv6Loopback()}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// ports are the sockets of a host by port.
type ports[S socket] map[uint16][]S

type socket interface {
	comparable
	bound() binding
}

// find returns the socket for a packet: one on the very address before one on
// all.
func (t ports[S]) find(to netip.AddrPort) (found S, ok bool) {
	for _, s := range t[to.Port()] {
		if b := s.bound(); b.hears(to.Addr()) && (!ok || b.addr.IsValid()) {
			found, ok = s, true
		}
	}
	return found, ok
}

func (t ports[S]) isFree(b binding) bool {
	return !slices.ContainsFunc(t[b.port], func(s S) bool { return s.bound().clashes(b) })
}

func (t ports[S]) remove(s S) {
	port := s.bound().port
	rest := slices.DeleteFunc(t[port], func(other S) bool { return other == s })
	if len(rest) == 0 {
		delete(t, port)
	} else {
		t[port] = rest
	}
}

// bind gives b the port that it wants, or any.
func bind[S socket](h *Host, t ports[S], b *binding) error {
	if h.net.closed {
		return errNetworkClosed
	}
	if b.addr.IsValid() && !h.isOwn(b.addr) {
		return syscall.EADDRNOTAVAIL
	}
	if b.port != 0 {
		if !t.isFree(*b) {
			return syscall.EADDRINUSE
		}
		return nil
	}
	first := h.rand.IntN(ephemeralCount)
	for i := range ephemeralCount {
		b.port = uint16(firstEphemeral + (first+i)%ephemeralCount)
		if t.isFree(*b) {
			return nil
		}
	}
	return syscall.EADDRINUSE
}
