package meshnet

import (
	"errors"
	"net"
	"net/netip"
)

// Listen accepts TCP connections of the mesh. The networks are "tcp" for both
// IP versions, "tcp4" and "tcp6". The address is ":port" or one of the node's
// own addresses and a port; port 0 picks a free one. Nobody on the host's own
// network reaches the listener.
//
// Listen starts the node if need be and does not wait for it: connections
// come once it is up. To listen on one of the node's own addresses it must be
// up already. Failures are [*net.OpError].
func (s *Server) Listen(network, addr string) (net.Listener, error) {
	n, at, err := s.listenAt("tcp", network, addr)
	if err != nil {
		return nil, listenError(network, err)
	}
	return n.stack.ListenTCP(network, at)
}

// ListenPacket receives UDP datagrams of the mesh; networks are "udp", "udp4"
// and "udp6". A reply to a datagram leaves from the address that it came to.
// See [Server.Listen] for the rest.
func (s *Server) ListenPacket(network, addr string) (net.PacketConn, error) {
	n, at, err := s.listenAt("udp", network, addr)
	if err != nil {
		return nil, listenError(network, err)
	}
	return n.stack.ListenUDP(network, at)
}

func listenError(network string, err error) error {
	return &net.OpError{Op: "listen", Net: network, Err: err}
}

// listenAt checks the arguments of a listen call and starts the node. An
// invalid address in the result is the wildcard.
func (s *Server) listenAt(wantProto, network, addr string) (*node, netip.AddrPort, error) {
	proto, family, err := splitNetwork(network)
	if err == nil && proto != wantProto {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	at, err := parseListenAddr(proto, family, addr)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	n, err := s.start()
	return n, at, err
}

func parseListenAddr(proto string, family int, addr string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := parsePort(proto, service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, errors.New("the host of a listen address is empty or one of the node's own addresses, not a name")
	}
	ip = ip.Unmap()
	if family != 0 && ip.Is4() != (family == 4) {
		return netip.AddrPort{}, &net.AddrError{Err: "address is of the other IP version", Addr: host}
	}
	if ip == netip.IPv6Unspecified() {
		ip = netip.Addr{} // both IP versions, unless the network says one
	}
	return netip.AddrPortFrom(ip, port), nil
}
