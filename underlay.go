package meshnet

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
)

// Underlay is the network beneath the mesh, on which the node reaches its
// coordinator, relays and peers. Every nil field means the host's own. A
// program that brings its own dialer or sockets, or a test that brings a whole
// network, sets them. In a browser (js/wasm) all but ListenPacket are of no use:
// there are only WebSockets and fetch.
type Underlay struct {
	// ListenPacket opens the UDP sockets of direct paths: network is "udp4"
	// or "udp6", addr ":port". Whether it fails or not, the mesh is reached:
	// without UDP by relays alone.
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)

	// DialContext connects to coordinator and relays: network is "tcp", "tcp4"
	// or "tcp6", addr a name or an address, and a port.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Interfaces returns the host's addresses, each with its network, at which
	// peers on the same network find the node.
	Interfaces func() ([]netip.Prefix, error)

	// Gateway returns the default router, if one is known. A node behind a NAT
	// asks it for a port mapping, by PCP, NAT-PMP and UPnP.
	Gateway func() (netip.Addr, bool)

	// RootCAs verifies the certificates of coordinator and relays, and of the
	// ACMEDirectory.
	RootCAs *x509.CertPool
}

// listenPacket returns nil where there is no UDP.
func (u *Underlay) listenPacket() func(ctx context.Context, network, addr string) (net.PacketConn, error) {
	if u.ListenPacket != nil {
		return u.ListenPacket
	}
	return hostListenPacket()
}

func (u *Underlay) dialContext() func(ctx context.Context, network, addr string) (net.Conn, error) {
	if u.DialContext != nil {
		return u.DialContext
	}
	return new(net.Dialer).DialContext
}
