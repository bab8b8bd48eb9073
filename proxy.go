package meshnet

import (
	"context"
	"net"
	"net/netip"

	"github.com/meshnet-go/meshnet/httpproxy"
	"github.com/meshnet-go/meshnet/socks5"
)

// SOCKS5 returns a new SOCKS5 server, through which other programs on the
// machine reach the mesh: CONNECT, BIND and UDP ASSOCIATE. Names and addresses
// are the mesh's, and nothing leaves it. The caller sets Auth, Allow and limits
// as it likes, and then serves a listener:
//
//	go srv.SOCKS5().Serve(ctx, ln)
func (s *Server) SOCKS5() *socks5.Server {
	return &socks5.Server{
		Dial:   s.Dial,
		Listen: s.listenForOne,
		ListenPacket: func(_ context.Context, network, address string) (net.PacketConn, error) {
			return s.ListenPacket(network, address)
		},
		Resolve: s.lookup,
		Logger:  s.Logger,
	}
}

// HTTPProxy returns a new HTTP proxy server into the mesh, for CONNECT and for
// plain requests. With the SOCKS server's ServeConn as its SOCKS field both
// share a port:
//
//	proxy := srv.HTTPProxy()
//	proxy.SOCKS = srv.SOCKS5().ServeConn
//	err := proxy.Serve(ctx, ln)
func (s *Server) HTTPProxy() *httpproxy.Server {
	return &httpproxy.Server{Dial: s.Dial, Logger: s.Logger}
}

// listenForOne listens for the connection that a SOCKS client awaits (BIND). It
// does so on an address of ours rather than on all, because the client is told
// the address and passes it on.
func (s *Server) listenForOne(ctx context.Context, network, _ string) (net.Listener, error) {
	_, v, err := s.member(ctx)
	if err != nil {
		return nil, err
	}
	ip, ip6 := v.ips()
	if network == "tcp6" {
		ip = ip6
	}
	if !ip.IsValid() {
		return nil, &net.AddrError{Err: "this node has no address for", Addr: network}
	}
	return s.Listen(network, netip.AddrPortFrom(ip, 0).String())
}

// lookup resolves a name as Dial does; it has the form of
// [net.Resolver.LookupNetIP].
func (s *Server) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	family, ok := map[string]int{"ip": 0, "ip4": 4, "ip6": 6}[network]
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	n, v, err := s.member(ctx)
	if err != nil {
		return nil, err
	}
	return n.lookup(ctx, v, host, family)
}
