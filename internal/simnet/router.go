package simnet

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// RouterConfig describes a router.
type RouterConfig struct {
	// Outside are its addresses in the network above. None means the next free
	// one of each network there.
	Outside []netip.Addr
	// Inside are its addresses in its own network, each with that network:
	// 192.168.1.1/24, 2001:db8:1::1/64. It may be left out with a NAT, and is
	// 192.168.1.1/24 then. What the NAT does not translate is known, and can
	// be sent to, up to the next NAT above.
	Inside []netip.Prefix
	// NAT translates IPv4; nil routes it as it is. IPv6 is never translated.
	NAT *NAT
	// Firewall lets packets that are not translated in only as answers: from
	// an address and port to which the very address and port has sent.
	Firewall bool
	// Timeout is how long NAT and firewall remember a flow after the last
	// outbound packet; inbound ones do not count. 0 means DefaultTimeout.
	Timeout time.Duration
	// BlockUDP lets no UDP through, in either direction.
	BlockUDP bool
}

// A Router joins a network of hosts and routers, who reach each other freely,
// to the network above it.
type Router struct {
	net *Network

	// Guarded by net.mu.
	parent   *Router // nil: the internet's own
	link     *Link   // to parent
	outside  []netip.Addr
	inside   []netip.Prefix
	gateway  *Host                // the router as a host of the network inside
	table    map[netip.Addr]*Link // who is below
	nat      *translator          // nil: none
	firewall *firewall            // nil: none
	blockUDP bool
}

func newRouter(n *Network) *Router { return &Router{net: n, table: make(map[netip.Addr]*Link)} }

// Router puts a router into the network of r. It panics when the configuration
// cannot be, as when an address is taken.
func (r *Router) Router(cfg RouterConfig) *Router {
	n := r.net
	n.lock()
	defer n.unlock()
	child := newRouter(n)
	child.blockUDP = cfg.BlockUDP
	child.inside = slices.Clone(cfg.Inside)
	timeout := cmp.Or(cfg.Timeout, DefaultTimeout)
	if cfg.NAT != nil {
		child.nat = newTranslator(*cfg.NAT, netip.Addr{}, timeout, n.newRand())
		if len(child.inside) == 0 {
			child.inside = []netip.Prefix{netip.MustParsePrefix("192.168.1.1/24")}
		}
	}
	if len(child.inside) == 0 {
		misuse("a router without NAT needs a network inside")
	}
	if cfg.Firewall {
		child.firewall = &firewall{timeout: timeout}
	}
	child.attach(r, cfg.Outside)
	child.gateway = n.newHost()
	var own []netip.Addr
	for _, prefix := range child.inside {
		own = append(own, prefix.Addr())
	}
	child.gateway.attach(child, own)
	return child
}

// Host puts a host into the network of r, by default with the next free
// address of each network there. It panics when an address is taken or of no
// network of r; on the open internet all addresses are.
func (r *Router) Host(addrs ...netip.Addr) *Host {
	r.net.lock()
	defer r.net.unlock()
	h := r.net.newHost()
	h.attach(r, addrs)
	return h
}

// Gateway returns the router as its own network sees it: a host on the
// addresses inside, where servers of the router can listen. It has no way to
// the outside. The internet's router has none, and it is nil.
func (r *Router) Gateway() *Host { return r.gateway }

// Link returns the link to the network above; that of the internet's router is
// nil. It is another one after Move.
func (r *Router) Link() *Link {
	r.net.lock()
	defer r.net.unlock()
	return r.link
}

// Outside returns the router's addresses in the network above.
func (r *Router) Outside() []netip.Addr {
	r.net.lock()
	defer r.net.unlock()
	return slices.Clone(r.outside)
}

// Move puts the router, with everything behind it, elsewhere or on other
// addresses, as RouterConfig.Outside has them: the old link is cut for good,
// the new one has its quality, and NAT and firewall have forgotten everything.
func (r *Router) Move(to *Router, outside ...netip.Addr) {
	r.net.lock()
	defer r.net.unlock()
	if r.parent == nil {
		misuse("the internet cannot be moved")
	}
	for at := to; at != nil; at = at.parent {
		if at == r {
			misuse("a router cannot be behind itself")
		}
	}
	old := r.link
	for _, addr := range r.outside {
		r.parent.forget(addr, old)
	}
	for addr := range r.table {
		if !r.translates(addr) {
			r.parent.forget(addr, old)
		}
	}
	old.kill()
	r.reset()
	r.attach(to, outside)
	r.link.up.q, r.link.down.q = old.up.q, old.down.q
}

// Reset makes NAT and firewall forget all flows and forwards, as a restart
// does. Connections live on.
func (r *Router) Reset() {
	r.net.lock()
	defer r.net.unlock()
	r.reset()
}

func (r *Router) reset() {
	if r.nat != nil {
		r.nat.reset()
	}
	if r.firewall != nil {
		r.firewall.reset()
	}
}

// BlockUDP changes RouterConfig.BlockUDP.
func (r *Router) BlockUDP(block bool) {
	r.net.lock()
	defer r.net.unlock()
	r.blockUDP = block
}

// Forward opens the way to the port of a host inside, for everybody, as PCP
// and NAT-PMP ask for it: until lifetime has passed, where 0 is for ever, or
// until Unforward. Another Forward of the same port prolongs it. It returns
// the address and port outside, where the port is the one wanted if that is
// free, and the inside one if the address is not translated. The network is
// "udp" or "tcp". The error is ENETUNREACH when the NAT has no address
// outside, and EADDRINUSE when all ports are taken.
func (r *Router) Forward(network string, want uint16, inside netip.AddrPort, lifetime time.Duration) (netip.AddrPort, error) {
	proto, err := transportOf(network)
	if err != nil {
		return netip.AddrPort{}, err
	}
	r.net.lock()
	defer r.net.unlock()
	now, expires := r.net.now, time.Duration(math.MaxInt64)
	if lifetime > 0 {
		expires = now + lifetime
	}
	if !r.translates(inside.Addr()) {
		if r.firewall != nil {
			r.firewall.forward(expires, proto, inside)
		}
		return inside, nil
	}
	if !r.nat.outside.IsValid() {
		return netip.AddrPort{}, syscall.ENETUNREACH
	}
	outside, ok := r.nat.forward(now, expires, proto, inside, want)
	if !ok {
		return netip.AddrPort{}, syscall.EADDRINUSE
	}
	return outside, nil
}

// Unforward undoes Forward.
func (r *Router) Unforward(network string, inside netip.AddrPort) {
	proto, err := transportOf(network)
	if err != nil {
		return
	}
	r.net.lock()
	defer r.net.unlock()
	if r.nat != nil {
		r.nat.unforward(proto, inside)
	}
	if r.firewall != nil {
		r.firewall.unforward(proto, inside)
	}
}

func transportOf(network string) (transport, error) {
	switch network {
	case "udp":
		return udp, nil
	case "tcp":
		return tcp, nil
	}
	return 0, net.UnknownNetworkError(network)
}

// attach puts r below parent.
func (r *Router) attach(parent *Router, outside []netip.Addr) {
	if parent == nil {
		misuse("a router needs a router above it")
	}
	r.outside = parent.addrsFor(outside)
	r.parent, r.link = parent, newLink(r.net, r, parent)
	for _, addr := range r.outside {
		parent.learn(addr, r.link)
	}
	for addr := range r.table {
		if !r.translates(addr) {
			parent.learn(addr, r.link)
		}
	}
	if r.nat != nil {
		r.nat.outside = netip.Addr{}
		if i := slices.IndexFunc(r.outside, netip.Addr.Is4); i >= 0 {
			r.nat.outside = r.outside[i]
		}
	}
}

// translates says whether an address behind r is hidden from above.
func (r *Router) translates(addr netip.Addr) bool { return r.nat != nil && addr.Is4() }

// learn notes, here and as far up as the address can be known, who has it.
func (r *Router) learn(addr netip.Addr, below *Link) {
	for at := r; at != nil; at = at.parent {
		if at.table[addr] != nil {
			misuse("the address %v is taken", addr)
		}
		at.table[addr] = below
		if at.translates(addr) {
			return
		}
		below = at.link
	}
}

// forget undoes learn.
func (r *Router) forget(addr netip.Addr, below *Link) {
	for at := r; at != nil; at = at.parent {
		if at.table[addr] == below {
			delete(at.table, addr)
		}
		if at.translates(addr) {
			return
		}
		below = at.link
	}
}

// addrsFor checks addresses that somebody wants in the network of r, and
// chooses them when none are wanted.
func (r *Router) addrsFor(want []netip.Addr) (addrs []netip.Addr) {
	for _, addr := range want {
		addr = addr.Unmap()
		if _, ok := r.prefixOf(addr); !ok {
			misuse("the address %v is of no network here", addr)
		}
		addrs = append(addrs, addr)
	}
	if len(want) > 0 {
		return addrs
	}
	for _, prefix := range r.inside {
		addrs = append(addrs, r.freeAddr(prefix))
	}
	return addrs
}

// freeAddr returns the lowest free address of a network but its very first.
func (r *Router) freeAddr(prefix netip.Prefix) netip.Addr {
	addr := prefix.Masked().Addr().Next()
	for r.table[addr] != nil {
		addr = addr.Next()
	}
	if !prefix.Contains(addr) {
		misuse("the network %v has no free address", prefix.Masked())
	}
	return addr
}

// prefixOf returns an address of this network as its host sees it.
func (r *Router) prefixOf(addr netip.Addr) (netip.Prefix, bool) {
	for _, prefix := range r.inside {
		if prefix.Contains(addr) {
			return netip.PrefixFrom(addr, prefix.Bits()), true
		}
	}
	switch {
	case r.parent != nil || !addr.IsValid():
		return netip.Prefix{}, false
	case addr.Is4(): // the internet is everywhere
		return netip.PrefixFrom(addr, 24), true
	default:
		return netip.PrefixFrom(addr, 64), true
	}
}
