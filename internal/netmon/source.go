package netmon

import (
	"fmt"
	"net"
	"net/netip"
)

// source is where a Monitor looks: the host, or what its user has given.
type source struct {
	interfaces func() ([]netip.Prefix, error)
	defaults   func() []netip.Addr // nil when interfaces are given
	gateway    func() (netip.Addr, bool)
}

func newSource(cfg Config) source {
	s := source{interfaces: cfg.Interfaces, gateway: cfg.Gateway}
	if s.interfaces == nil {
		s.interfaces, s.defaults = hostAddrs, hostDefaults
	}
	if s.gateway == nil {
		s.gateway = hostGateway
	}
	return s
}

// read looks. After an error the rest is good.
func (s *source) read() (r raw, err error) {
	r.addrs, err = s.interfaces()
	if s.defaults != nil {
		r.defaults = s.defaults()
	}
	if gateway, ok := s.gateway(); ok {
		r.gateway = gateway
	}
	return r, err
}

// maxInterfaces bounds how many interfaces of the host are looked at: each
// costs a system call or more.
const maxInterfaces = 256

// hostAddrs returns the addresses of the interfaces that are up. Android does
// not let programs list them (golang/go#40569).
func hostAddrs() (all []netip.Prefix, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("netmon: listing interfaces: %w", err)
	}
	interfaces = interfaces[:min(len(interfaces), maxInterfaces)]
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// hostDefaults returns the addresses that the host sends from to the internet.
// Connecting a UDP socket chooses a route and sends nothing.
func hostDefaults() (all []netip.Addr) {
	// A root name server, which is in nobody's own network. Addresses that are
	// reserved for documentation are, in laboratories.
	for _, far := range []string{"198.41.0.4:53", "[2001:503:ba3e::2:30]:53"} {
		conn, err := net.Dial("udp", far)
		if err != nil {
			continue // no such route
		}
		if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			all = append(all, local.AddrPort().Addr().Unmap())
		}
		conn.Close()
	}
	return all
}
