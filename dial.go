package meshnet

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Dial connects to an address of the mesh. The networks are "tcp", "tcp4",
// "tcp6", "udp", "udp4" and "udp6"; the address is "host:port", and the host an
// IP address or a name of the mesh, full or short, or one that a DNS server in the
// mesh knows: see [Resolver]. Of several addresses IPv4 comes first where the
// network leaves the choice. The next is tried when one fails and, unless both
// are of the same node, also when it does not answer within 250 milliseconds.
//
// Dial starts the node if need be and waits for it like [Server.Up]; ctx bounds
// all of that, and nothing after it. It never leaves the mesh, unless
// [Server.HostFallback] is set: names that the mesh does not know are not asked
// of the host, and addresses that are neither a peer's, nor behind one by
// [Server.AcceptRoutes] or [Server.ExitNode], are an error. Failures are [*net.OpError]; inside is a [*net.DNSError] for a
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
	ips, err := n.lookup(ctx, v, host, family)
	if isNotFound(err) && n.cfg.hostFallback {
		return n.dialHost(ctx, network, address)
	}
	if err != nil {
		return fail(nil, err)
	}
	dsts, err := n.reachable(v, ips, port)
	if err != nil && n.cfg.hostFallback && !ofMesh(ips[0]) {
		return n.dialHost(ctx, network, address)
	}
	if err != nil {
		return fail(netAddr(proto, netip.AddrPortFrom(ips[0], port)), err)
	}
	if proto == "udp" {
		dsts = []target{dsts[0][:1]} // there is no telling whether anybody listens
	}
	return dialFirst(ctx, dsts, func(ctx context.Context, dst netip.AddrPort) (net.Conn, error) { return n.dial(ctx, network, dst) })
}

// reachable returns where of ips packets can be sent to. When there is nothing
// the error says why, of the first.
func (n *node) reachable(v view, ips []netip.Addr, port uint16) (dsts []target, why error) {
	now := time.Now()
	ofNode := make(map[tailcfg.NodeID]int) // which target
	for _, ip := range ips {
		if err := n.cfg.routes.reachable(v.netMap, ip, now); err != nil {
			why = cmp.Or(why, err)
			continue
		}
		dst := netip.AddrPortFrom(ip, port)
		owner, ok := v.netMap.ByAddr(ip)
		if !ok {
			dsts = append(dsts, target{dst})
		} else if i, more := ofNode[owner.ID]; more {
			dsts[i] = append(dsts[i], dst)
		} else {
			ofNode[owner.ID] = len(dsts)
			dsts = append(dsts, target{dst})
		}
	}
	if len(dsts) > 0 {
		return dsts, nil
	}
	return nil, why
}

// The addresses of tailnets' nodes: what is sent to one that is none now is not
// meant for anybody else.
var (
	meshRange4 = netip.MustParsePrefix("100.64.0.0/10")
	meshRange6 = netip.MustParsePrefix("fd7a:115c:a1e0::/48")
)

func ofMesh(ip netip.Addr) bool { return meshRange4.Contains(ip) || meshRange6.Contains(ip) }

// dialHost connects to what is not in the mesh, as the host does.
func (n *node) dialHost(ctx context.Context, network, address string) (net.Conn, error) {
	if proto, _, _ := splitNetwork(network); proto == "tcp" {
		return n.cfg.dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// dial connects to an address of the mesh. Its errors are of package net.
func (n *node) dial(ctx context.Context, network string, dst netip.AddrPort) (c net.Conn, err error) {
	if strings.HasPrefix(network, "udp") {
		c, err = n.stack.DialUDP(ctx, network, netip.Addr{}, dst)
	} else {
		c, err = n.stack.DialTCP(ctx, network, netip.Addr{}, dst)
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

func netAddr(proto string, a netip.AddrPort) net.Addr {
	if proto == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}
