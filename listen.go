package meshnet

import (
	"errors"
	"net"
	"net/netip"
)

// Listen accepts TCP connections of the mesh. The networks are "tcp" for both
// IP versions, "tcp4" and "tcp6". The address is ":port" or one of the node's
// own addresses and a port; port 0 picks a free one, and so does an empty
// address. Nobody on the host's own network reaches the listener.
//
// Listen starts the node if need be and does not wait for it: connections
// come once it is up, and [Server.Up] tells why it does not come up. To listen
// on one of the node's own addresses it must be up already. [PeerOf] says who
// is at the other end of a connection. Failures are [*net.OpError].
func (s *Server) Listen(network, addr string) (net.Listener, error) {
	n, at, err := s.listenAt("tcp", network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	ln, err := n.stack.ListenTCP(network, at)
	if err != nil {
		return nil, err
	}
	return &listener{ln, n}, nil
}

// ListenPacket receives UDP datagrams of the mesh; networks are "udp", "udp4"
// and "udp6". A reply to a datagram leaves from the address that it came to.
// See [Server.Listen] for the rest.
func (s *Server) ListenPacket(network, addr string) (net.PacketConn, error) {
	n, at, err := s.listenAt("udp", network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return n.stack.ListenUDP(network, at)
}

// listenAt checks the arguments of a listen call and starts the node. An
// invalid address in the result is the wildcard. Whether network and address
// go together is the stack's to say.
func (s *Server) listenAt(wantProto, network, addr string) (*node, netip.AddrPort, error) {
	proto, _, err := splitNetwork(network)
	if err == nil && proto != wantProto {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	at, err := parseListenAddr(proto, addr)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	n, err := s.start()
	return n, at, err
}

func parseListenAddr(proto, addr string) (netip.AddrPort, error) {
	if addr == "" { // as in package net
		return netip.AddrPort{}, nil
	}
	host, port, err := splitHostPort(proto, addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var ip netip.Addr
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, errors.New("the host of a listen address is empty or one of the node's own addresses, not a name")
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), port), nil
}
