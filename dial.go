package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dial connects to an address of the mesh. The networks are "tcp", "tcp4",
// "tcp6", "udp", "udp4" and "udp6"; the address is "host:port", and the host an
// IP address or a name of the mesh, full or short.
//
// Dial starts the node if need be and waits for it; ctx bounds all of that. It
// never leaves the mesh: names that the mesh does not know are not asked of
// the host, and addresses that no peer has are an error. Failures are
// [*net.OpError]; a name that is not found is a [*net.DNSError] inside.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	if err == nil {
		return conn, nil
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		err = &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return nil, err
}

func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	proto, family, err := splitNetwork(network)
	if err != nil {
		return nil, err
	}
	n, err := s.start()
	if err != nil {
		return nil, err
	}
	if err := n.waitUp(ctx); err != nil {
		return nil, err
	}
	dst, err := n.resolve(proto, family, address)
	if err != nil {
		return nil, err
	}
	if err := n.reachable(dst.Addr()); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: netAddr(proto, dst), Err: err}
	}
	if proto == "udp" {
		return n.stack.DialUDP(ctx, netip.Addr{}, dst)
	}
	return n.stack.DialTCP(ctx, netip.Addr{}, dst)
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

// resolve finds the address to dial.
func (n *node) resolve(proto string, family int, address string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := parsePort(proto, service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip.Unmap()}
	} else if addrs, err = n.lookup(host); err != nil {
		return netip.AddrPort{}, err
	}
	ip, ok := n.choose(addrs, family)
	if !ok {
		return netip.AddrPort{}, &net.AddrError{Err: "no suitable address", Addr: host}
	}
	return netip.AddrPortFrom(ip, port), nil
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

// lookup asks the mesh, and nobody else, for a name.
func (n *node) lookup(host string) ([]netip.Addr, error) {
	addrs, found := n.view.load().netMap.Names.Lookup(host)
	if !found {
		return nil, &net.DNSError{Err: "no such name in the mesh", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// choose takes the first address of the wanted IP version that we have one of
// ourselves, IPv4 before IPv6.
func (n *node) choose(addrs []netip.Addr, family int) (netip.Addr, bool) {
	self4, self6 := n.ips()
	for _, want := range []struct {
		family int
		usable bool
	}{{4, self4.IsValid()}, {6, self6.IsValid()}} {
		if family != 0 && family != want.family || !want.usable {
			continue
		}
		for _, a := range addrs {
			if a.Is4() == (want.family == 4) {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

// reachable tells at once what would otherwise be a timeout: packets for an
// address that is nobody's go nowhere.
func (n *node) reachable(ip netip.Addr) error {
	m := n.view.load().netMap
	peer, ok := m.ByAddr(ip)
	switch {
	case !ok:
		return fmt.Errorf("no node of the mesh has the address %v: %w", ip, syscall.ENETUNREACH)
	case m.Expired(peer, time.Now()):
		return fmt.Errorf("the key of %s has expired: %w", strings.TrimSuffix(peer.Name, "."), syscall.EHOSTUNREACH)
	}
	return nil
}

func netAddr(proto string, a netip.AddrPort) net.Addr {
	if proto == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// idleConnTimeout is how long an HTTPClient keeps an unused connection, as
// [http.DefaultTransport] does.
const idleConnTimeout = 90 * time.Second

// HTTPClient returns a client whose requests go to the mesh and nowhere else;
// hosts in URLs are names or addresses of the mesh. Each call returns a new
// client with connections of its own.
func (s *Server) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         s.Dial,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     idleConnTimeout,
	}}
}
