package magicsock

import (
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/netcheck"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// An Endpoint is an address on the underlay where peers may find us.
type Endpoint struct {
	Addr netip.AddrPort
	Type tailcfg.EndpointType
}

// Host is what the parent knows of the host's place on the underlay.
type Host struct {
	// Addrs are the addresses of its interfaces.
	Addrs []netip.Addr
	// Mapped is where the router passes packets on to our IPv4 socket; invalid
	// when it does not.
	Mapped netip.AddrPort
}

// SetHost says what the host's place on the underlay is.
func (c *Conn) SetHost(h Host) {
	c.do(func() {
		moved := !slices.Equal(c.underlay.host.Addrs, h.Addrs)
		c.underlay.host = h
		if moved {
			c.relays.SetAddrs(h.Addrs)
			c.setNetwork()
		}
		c.publish()
	})
}

// Port returns the port of the IPv4 socket, 0 when there is none.
func (c *Conn) Port() uint16 {
	if c.sockets.v4 == nil {
		return 0
	}
	return c.sockets.v4.LocalAddr().Port()
}

// behindNAT says whether STUN servers see another IPv4 address than ours.
func (c *Conn) behindNAT() bool {
	return slices.ContainsFunc(c.underlay.report.Endpoints, func(e netcheck.Endpoint) bool {
		return e.Addr.Addr().Is4() && !slices.Contains(c.underlay.host.Addrs, e.Addr.Addr())
	})
}

// endpoints returns where peers may find us, the likeliest first.
func (c *Conn) endpoints() []Endpoint {
	var found []Endpoint
	add := func(addr netip.AddrPort, kind tailcfg.EndpointType) {
		known := func(e Endpoint) bool { return e.Addr == addr }
		if addr.IsValid() && !slices.ContainsFunc(found, known) {
			found = append(found, Endpoint{addr, kind})
		}
	}
	add(c.underlay.host.Mapped, tailcfg.EndpointPortmapped)
	for _, e := range c.underlay.report.Endpoints {
		add(e.Addr, tailcfg.EndpointSTUN)
	}
	for _, addr := range c.underlay.host.Addrs {
		if u := c.sockets.to(addr); u != nil {
			add(netip.AddrPortFrom(addr, u.LocalAddr().Port()), tailcfg.EndpointLocal)
		}
	}
	return found
}
