package meshnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"go4.org/netipx"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// routes are what the Server's fields say of addresses that are no node's.
type routes struct {
	accept    bool
	exitNode  string         // name or address; empty: none
	advertise []netip.Prefix // sorted, and with the default routes those of an exit node
}

func (s *Server) routes() (routes, error) {
	r := routes{accept: s.AcceptRoutes, exitNode: s.ExitNode}
	for _, p := range s.AdvertiseRoutes {
		if err := checkRoute(p); err != nil {
			return routes{}, fmt.Errorf("AdvertiseRoutes: %v %w", p, err)
		}
		r.advertise = append(r.advertise, p)
	}
	if s.AdvertiseExitNode {
		r.advertise = append(r.advertise, defaultRoutes()...)
	}
	if s.ExitNode != "" && s.AdvertiseExitNode {
		return routes{}, errors.New("ExitNode and AdvertiseExitNode exclude each other")
	}
	slices.SortFunc(r.advertise, netip.Prefix.Compare)
	r.advertise = slices.Compact(r.advertise)
	return r, nil
}

// checkRoute returns an error for prefixes that are no routes to elsewhere.
func checkRoute(p netip.Prefix) error {
	switch addr := p.Addr(); {
	case !p.IsValid():
		return errors.New("is no prefix")
	case p != p.Masked():
		return fmt.Errorf("has bits beyond its length; the prefix would be %v", p.Masked())
	case p.Bits() == 0:
		return errors.New("is for AdvertiseExitNode")
	case addr.Is4In6(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast(), addr.IsUnspecified():
		return errors.New("has addresses that are not routed")
	}
	return nil
}

func defaultRoutes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

func isDefault(p netip.Prefix) bool { return p.Bits() == 0 }

// local returns what peers may send to through us: our own addresses and those
// routes that we advertise and the coordinator has approved. lan is the host's
// addresses with their networks.
func (r routes) local(self *tailcfg.Node, lan []netip.Prefix) []netip.Prefix {
	local := slices.Clone(self.Addresses)
	for _, p := range r.approved(self) {
		if isDefault(p) {
			local = append(local, internet(p.Addr().Is4(), lan)...)
		} else {
			local = append(local, p)
		}
	}
	return local
}

// approved returns those of the routes that we advertise that the coordinator
// has approved.
func (r routes) approved(self *tailcfg.Node) (approved []netip.Prefix) {
	for _, p := range r.advertise {
		if slices.Contains(self.AllowedIPs, p) {
			approved = append(approved, p)
		}
	}
	return approved
}

// notInternet are addresses of IPv4 that mean something else in every network,
// or nothing: those of an exit node's own surroundings, which it does not open
// to its peers (RFC 6890, RFC 6598).
const notInternet = `0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16
	198.18.0.0/15 224.0.0.0/4 240.0.0.0/4`

// internet returns the addresses of one IP version to which an exit node leads:
// the global ones but for those of the host and its networks.
func internet(is4 bool, lan []netip.Prefix) []netip.Prefix {
	var b netipx.IPSetBuilder
	if is4 {
		b.AddPrefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
		for _, text := range strings.Fields(notInternet) {
			b.RemovePrefix(netip.MustParsePrefix(text))
		}
	} else {
		b.AddPrefix(netip.MustParsePrefix("2000::/3")) // all that is assigned globally (RFC 4291)
	}
	for _, p := range lan {
		if p.IsValid() {
			b.RemovePrefix(p.Masked())
		}
	}
	set, _ := b.IPSet() // fails for invalid prefixes alone
	return set.Prefixes()
}

// exit returns the peer that is our exit node. It reports false while there is
// none of that name.
func (r routes) exit(m *netmap.Map) (*tailcfg.Node, bool) {
	if r.exitNode == "" {
		return nil, false
	}
	addr, err := netip.ParseAddr(r.exitNode)
	if err != nil {
		found, ok := m.Names.Lookup(r.exitNode)
		if !ok || len(found) == 0 {
			return nil, false
		}
		addr = found[0]
	}
	peer, ok := m.ByAddr(addr.Unmap())
	if !ok || peer.ID == m.Self.ID {
		return nil, false
	}
	return peer, true
}

// accepts reports whether something that a peer offers to be behind it is: its
// own addresses are, and the routes that the user accepts. Without the user's
// word a coordinator could send any traffic anywhere. A jailed peer has no
// routes, because the packet filter knows it by its addresses.
func (r routes) accepts(p *tailcfg.Node, offered netip.Prefix, exit *tailcfg.Node) bool {
	switch {
	case slices.Contains(p.Addresses, offered):
		return true
	case p.IsJailed:
		return false
	case isDefault(offered):
		return exit != nil && exit.ID == p.ID
	}
	return r.accept
}

// through returns the routes through a peer that the user accepts.
func (r routes) through(m *netmap.Map, p *tailcfg.Node) (through []netip.Prefix) {
	exit, _ := r.exit(m)
	for _, offered := range p.AllowedIPs {
		if !slices.Contains(p.Addresses, offered) && r.accepts(p, offered, exit) {
			through = append(through, offered)
		}
	}
	return through
}

// to returns the peer through which packets to an address go: the one whose
// address it is or, of those with a route to it, the one with the narrowest.
func (r routes) to(m *netmap.Map, ip netip.Addr, now time.Time) (*tailcfg.Node, bool) {
	if peer, ok := m.ByAddr(ip); ok {
		return peer, true
	}
	exit, _ := r.exit(m)
	var (
		through *tailcfg.Node
		bits    = -1
	)
	for _, p := range m.Peers {
		for _, offered := range p.AllowedIPs {
			if offered.Contains(ip) && offered.Bits() > bits && r.accepts(p, offered, exit) && cutOff(m, p, now) == "" {
				through, bits = p, offered.Bits()
			}
		}
	}
	return through, through != nil
}

// reachable tells at once what would otherwise be a timeout: packets for an
// address that is nobody's go nowhere.
func (r routes) reachable(m *netmap.Map, ip netip.Addr, now time.Time) error {
	peer, ok := r.to(m, ip, now)
	if !ok {
		return r.unreachable(m, ip)
	}
	if why := cutOff(m, peer, now); why != "" {
		return fmt.Errorf("%s %s: %w", strings.TrimSuffix(peer.Name, "."), why, syscall.EHOSTUNREACH)
	}
	return nil
}

// unreachable says why no peer leads to an address.
func (r routes) unreachable(m *netmap.Map, ip netip.Addr) error {
	if r.exitNode == "" {
		return fmt.Errorf("no node of the mesh has the address %v, nor does a route that is accepted lead to it: %w", ip, syscall.ENETUNREACH)
	}
	why := r.exitProblem(m)
	if why == "" {
		why = "cannot be used as one"
	}
	return fmt.Errorf("nothing leads to %v: the exit node %s %s: %w", ip, r.exitNode, why, syscall.ENETUNREACH)
}

// exitProblem says what is wrong with the exit node that the user wants, if
// anything.
func (r routes) exitProblem(m *netmap.Map) string {
	if exit, ok := r.exit(m); !ok {
		return "is no peer"
	} else if !slices.ContainsFunc(exit.AllowedIPs, isDefault) {
		return "does not offer to be one"
	}
	return ""
}

// withheld are the addresses that no route leads to, however wide it is: our
// own, and those of nodes that we exchange no packets with. Who is a router for
// everything could answer for them otherwise.
func withheld(m *netmap.Map, now time.Time) []netip.Addr {
	none := addrs(m.Self)
	for _, p := range m.Peers {
		if cutOff(m, p, now) != "" {
			none = append(none, addrs(p)...)
		}
	}
	return none
}

// without returns a prefix in parts that leave addresses out.
func without(p netip.Prefix, out []netip.Addr) []netip.Prefix {
	if !slices.ContainsFunc(out, p.Contains) {
		return []netip.Prefix{p}
	}
	var b netipx.IPSetBuilder
	b.AddPrefix(p)
	for _, addr := range out {
		if p.Contains(addr) {
			b.Remove(addr)
		}
	}
	set, _ := b.IPSet() // fails for invalid addresses alone
	return set.Prefixes()
}
