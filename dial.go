package meshnet

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Dial connects to an address of the mesh. The networks are "tcp", "tcp4",
// "tcp6", "udp", "udp4" and "udp6"; the address is "host:port", and the host an
// IP address or a name of the mesh, full or short. IPv4 is preferred where the
// network leaves the choice.
//
// Dial starts the node if need be and waits for it like [Server.Up]; ctx bounds
// all of that, and nothing after it. It never leaves the mesh: names that the
// mesh does not know are not asked of the host, and addresses that are neither a
// peer's, nor behind one by [Server.AcceptRoutes] or [Server.ExitNode], are an
// error. Failures are [*net.OpError]; inside is a [*net.DNSError] for a
// name that is not found, and what Up would return when the node cannot come
// up.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(addr net.Addr, err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr, Err: err}
	}
	proto, family, err := splitNetwork(network)
	if err != nil {
		return fail(nil, err)
	}
	host, port, err := splitHostPort(proto, address)
	if err != nil {
		return fail(nil, err)
	}
	n, v, err := s.member(ctx)
	if err != nil {
		return fail(nil, err)
	}
	ip, err := v.resolve(host, family)
	if err != nil {
		return fail(nil, err)
	}
	dst := netip.AddrPortFrom(ip, port)
	if err := n.cfg.routes.reachable(v.netMap, ip, time.Now()); err != nil {
		return fail(netAddr(proto, dst), err)
	}
	return n.dial(ctx, proto, dst)
}

// dial connects to an address of the mesh. Its errors are of package net.
func (n *node) dial(ctx context.Context, proto string, dst netip.AddrPort) (c net.Conn, err error) {
	if proto == "udp" {
		c, err = n.stack.DialUDP(ctx, netip.Addr{}, dst)
	} else {
		c, err = n.stack.DialTCP(ctx, netip.Addr{}, dst)
	}
	if err != nil {
		return nil, err
	}
	return n.withRemote(c), nil
}

// member starts the node if need be, waits until it is up, and returns it with
// the view in which it is.
func (s *Server) member(ctx context.Context) (*node, view, error) {
	n, err := s.start()
	if err != nil {
		return nil, view{}, err
	}
	v, err := n.waitUp(ctx)
	return n, v, err
}

// splitNetwork parts a network such as "tcp6" into protocol and IP version, 0
// for either.
func splitNetwork(network string) (proto string, family int, err error) {
	switch network {
	case "tcp", "udp":
		return network, 0, nil
	case "tcp4", "udp4":
		return network[:3], 4, nil
	case "tcp6", "udp6":
		return network[:3], 6, nil
	}
	return "", 0, net.UnknownNetworkError(network)
}

func splitHostPort(proto, address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = parsePort(proto, service)
	return host, port, err
}

// parsePort takes numbers, and the few names that every program knows: the
// host's services file is not the mesh's.
func parsePort(proto, service string) (uint16, error) {
	port, err := strconv.ParseUint(service, 10, 16)
	if err == nil {
		return uint16(port), nil
	}
	switch {
	case proto == "tcp" && service == "http":
		return 80, nil
	case proto == "tcp" && service == "https":
		return 443, nil
	}
	return 0, &net.AddrError{Err: "invalid port", Addr: service}
}

// resolve finds the address to dial. It asks the mesh, and nobody else.
func (v view) resolve(host string, family int) (netip.Addr, error) {
	var candidates []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		candidates = []netip.Addr{ip.Unmap()}
	} else if found, ok := v.netMap.Names.Lookup(host); ok {
		candidates = found
	} else {
		return netip.Addr{}, &net.DNSError{Err: "no such name in the mesh", Name: host, IsNotFound: true}
	}
	ip, ok := v.choose(candidates, family)
	if !ok {
		return netip.Addr{}, &net.AddrError{Err: "no suitable address", Addr: host}
	}
	return ip, nil
}

// choose takes the first address of the wanted IP version that we have one of
// ourselves, IPv4 before IPv6.
func (v view) choose(candidates []netip.Addr, family int) (netip.Addr, bool) {
	self4, self6 := v.ips()
	for _, want := range []struct {
		family int
		usable bool
	}{{4, self4.IsValid()}, {6, self6.IsValid()}} {
		if family != 0 && family != want.family || !want.usable {
			continue
		}
		for _, a := range candidates {
			if a.Is4() == (want.family == 4) {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

func netAddr(proto string, a netip.AddrPort) net.Addr {
	if proto == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}
