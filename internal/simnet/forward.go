package simnet

import "net/netip"

// receive takes a packet from above or from below.
func (r *Router) receive(p *packet, over *wire) {
	if r.link != nil && over == &r.link.down {
		r.fromAbove(p)
	} else {
		r.fromBelow(p, over.link)
	}
}

// fromBelow switches a packet to a neighbour of its sender, or takes it out.
func (r *Router) fromBelow(p *packet, from *Link) {
	if to := r.table[p.dst.Addr()]; to != nil && to != from {
		to.down.carry(p)
		return
	}
	if r.parent == nil || r.isInside(p.dst.Addr()) || p.dst.Addr().IsMulticast() {
		p.drop(Unroutable)
		return
	}
	if r.blocks(p) || !r.out(p) {
		p.drop(Blocked)
		return
	}
	if r.nat != nil && p.dst.Addr() == r.nat.outside {
		if !r.nat.Hairpin {
			p.drop(Blocked)
			return
		}
		r.fromAbove(p)
		return
	}
	r.link.up.carry(p)
}

// fromAbove takes a packet in, if it may pass.
func (r *Router) fromAbove(p *packet) {
	if r.blocks(p) || !r.in(p) {
		p.drop(Blocked)
		return
	}
	to := r.table[p.dst.Addr()]
	if to == nil {
		p.drop(Unroutable)
		return
	}
	to.down.carry(p)
}

// out translates a packet on its way out and remembers it.
func (r *Router) out(p *packet) bool {
	now := r.net.now
	if r.translates(p.dst.Addr()) {
		src, ok := r.nat.outbound(now, p.transport, p.src, p.dst)
		p.src = src
		return ok && src.Addr().IsValid()
	}
	if r.firewall != nil {
		r.firewall.outbound(now, p.transport, p.src, p.dst)
	}
	return true
}

// in translates a packet on its way in, and says whether it may pass.
func (r *Router) in(p *packet) bool {
	now := r.net.now
	if r.translates(p.dst.Addr()) {
		if p.dst.Addr() != r.nat.outside {
			return false
		}
		dst, ok := r.nat.inbound(now, p.transport, p.src, p.dst.Port())
		p.dst = dst
		return ok
	}
	return r.firewall == nil || r.firewall.inbound(now, p.transport, p.src, p.dst)
}

func (r *Router) blocks(p *packet) bool { return r.blockUDP && p.transport == udp }

// isInside says whether an address belongs to the network of r, where nobody
// needs to have it.
func (r *Router) isInside(addr netip.Addr) bool {
	for _, prefix := range r.inside {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
