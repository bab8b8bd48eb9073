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
// network, sets them.
type Underlay struct {
	// ListenPacket opens the UDP sockets of direct paths: network is "udp4"
	// or "udp6". Connections are carried by relays today, and it is not called.
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)

	// DialContext connects to coordinator and relays: network is "tcp", "tcp4"
	// or "tcp6", addr a name or an address, and a port.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Interfaces returns the host's addresses, each with its network, for
	// direct paths; not called today.
	Interfaces func() ([]netip.Prefix, error)

	// Gateway returns the default router, for port mappings; not called today.
	Gateway func() (netip.Addr, bool)

	// RootCAs verifies the certificates of coordinator and relays.
	RootCAs *x509.CertPool
}

func (u *Underlay) dialContext() func(ctx context.Context, network, addr string) (net.Conn, error) {
	if u.DialContext != nil {
		return u.DialContext
	}
	return new(net.Dialer).DialContext
}
