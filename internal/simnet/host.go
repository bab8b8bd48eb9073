package simnet

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
)

// A Host is a machine with sockets. Its methods ListenPacket, DialContext,
// Interfaces and Gateway have the shapes of the fields of meshnet.Underlay.
//
// A host reaches itself at its addresses and at the loopback addresses, without
// any link.
type Host struct {
	net  *Network
	rand *rand.Rand // for ports

	// Guarded by net.mu.
	router *Router // nil: it is on no network
	link   *Link
	addrs  []netip.Addr
	udp    ports[*udpConn]
	tcp    ports[*listener]
}

func (n *Network) newHost() *Host {
	h := &Host{net: n, rand: n.newRand(), udp: make(ports[*udpConn]), tcp: make(ports[*listener])}
	n.hosts = append(n.hosts, h)
	return h
}

// Addrs returns the host's addresses.
func (h *Host) Addrs() []netip.Addr {
	h.net.lock()
	defer h.net.unlock()
	return slices.Clone(h.addrs)
}

// Interfaces returns the host's addresses, each with its network, without
// loopback. It never fails.
func (h *Host) Interfaces() ([]netip.Prefix, error) {
	h.net.lock()
	defer h.net.unlock()
	var prefixes []netip.Prefix
	for _, addr := range h.addrs {
		if prefix, ok := h.router.prefixOf(addr); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, nil
}

// Gateway returns the address of the router above, the IPv4 one if both the
// host and the router have one. A host on the open internet has none.
func (h *Host) Gateway() (netip.Addr, bool) {
	h.net.lock()
	defer h.net.unlock()
	if h.router == nil {
		return netip.Addr{}, false
	}
	for _, wantIPv4 := range []bool{true, false} {
		for _, prefix := range h.router.inside {
			if addr := prefix.Addr(); addr.Is4() == wantIPv4 && h.hasFamily(addr) && h.router.gateway != nil {
				return addr, true
			}
		}
	}
	return netip.Addr{}, false
}

// Link returns the link to the router above. It is another one after Move, and
// a dead one while the host is on no network.
func (h *Host) Link() *Link {
	h.net.lock()
	defer h.net.unlock()
	return h.link
}

// Move puts the host into another network, or on other addresses of the same:
// addresses are as in [Router.Host], and a nil router takes all away. The old
// link is cut for good, so that connections stand still and fail in the end;
// the new link has the quality of the old. Sockets on all addresses go on with
// the new ones.
func (h *Host) Move(to *Router, addrs ...netip.Addr) {
	h.net.lock()
	defer h.net.unlock()
	old := h.link
	if h.router != nil {
		for _, addr := range h.addrs {
			h.router.forget(addr, old)
		}
	}
	old.kill()
	h.router, h.addrs = nil, nil
	if to != nil {
		h.attach(to, addrs)
		h.link.up.q, h.link.down.q = old.up.q, old.down.q
	}
}

func (h *Host) attach(r *Router, addrs []netip.Addr) {
	h.addrs = r.addrsFor(addrs)
	h.router, h.link = r, newLink(h.net, h, r)
	for _, addr := range h.addrs {
		r.learn(addr, h.link)
	}
}

// receive takes a packet from the network. A host that has moved gets none: its
// old link is dead.
func (h *Host) receive(p *packet, _ *wire) { h.deliver(p) }

// send sends a packet to the network, or to the host itself.
func (h *Host) send(p *packet) {
	switch {
	case h.isOwn(p.dst.Addr()):
		h.deliver(p)
	case h == h.router.gateway && !h.router.isInside(p.dst.Addr()):
		p.drop(Unroutable) // it would come out at its own LAN side
	default:
		h.link.up.carry(p)
	}
}

// deliver gives a packet to its socket.
func (h *Host) deliver(p *packet) {
	if p.dial != nil {
		h.answer(p)
		return
	}
	c, ok := h.udp.find(p.dst)
	if !ok {
		p.drop(Unheard)
	} else if !c.inbox.push(p) {
		p.drop(Overflowed)
	}
}

// isOwn says whether packets to an address stay on the host.
func (h *Host) isOwn(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(h.addrs, addr)
}

// source returns the address from which to send to dst, for a socket that is
// bound to an address, or to the zero Addr.
func (h *Host) source(bound, dst netip.Addr) (netip.Addr, error) {
	switch {
	case h.isOwn(dst) && (!bound.IsValid() || h.isOwn(bound)):
		if bound.IsValid() {
			return bound, nil
		}
		return dst, nil
	case bound.IsLoopback():
		return netip.Addr{}, syscall.EINVAL
	case !h.hasFamily(dst), bound.IsValid() && !h.isOwn(bound):
		return netip.Addr{}, syscall.ENETUNREACH
	case bound.IsValid():
		return bound, nil
	}
	var first netip.Addr
	for _, addr := range h.addrs {
		if addr.Is4() != dst.Is4() {
			continue
		}
		if prefix, ok := h.router.prefixOf(addr); ok && prefix.Contains(dst) {
			return addr, nil
		}
		if !first.IsValid() {
			first = addr
		}
	}
	return first, nil
}

func (h *Host) hasFamily(addr netip.Addr) bool {
	return slices.ContainsFunc(h.addrs, func(own netip.Addr) bool { return own.Is4() == addr.Is4() })
}

func (h *Host) closeSockets() {
	for _, sockets := range h.udp {
		for _, c := range sockets {
			c.inbox.close()
		}
	}
	for _, sockets := range h.tcp {
		for _, l := range sockets {
			l.shut()
		}
	}
	clear(h.udp)
	clear(h.tcp)
}
