package meshtest

import (
	"net/netip"
	"strconv"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// A Kind is what stands between a network and the internet.
type Kind int

// The kinds of networks. Their addresses are IPv4 and IPv6 where there is no
// NAT, and IPv4 behind one. No router maps ports on request.
const (
	// OpenInternet is nothing: public addresses that everybody can send to.
	OpenInternet Kind = iota
	// Firewall lets in only answers, to public addresses.
	Firewall
	// FullConeNAT lets everybody in at a port that has been used: the
	// friendliest NAT there is.
	FullConeNAT
	// EasyNAT is that of most homes: one port outside for each inside, which
	// lets in those who were sent to.
	EasyNAT
	// HardNAT is that of companies and mobile networks, also called symmetric:
	// another port, which nobody can guess, for each remote address and port.
	HardNAT
	// UDPBlocked is an easy NAT that lets only TCP through: nodes are reached
	// by relays alone.
	UDPBlocked
	// IPv6Only is Firewall without IPv4.
	IPv6Only
)

// String returns the name of the constant.
func (k Kind) String() string {
	switch k {
	case OpenInternet:
		return "OpenInternet"
	case Firewall:
		return "Firewall"
	case FullConeNAT:
		return "FullConeNAT"
	case EasyNAT:
		return "EasyNAT"
	case HardNAT:
		return "HardNAT"
	case UDPBlocked:
		return "UDPBlocked"
	case IPv6Only:
		return "IPv6Only"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// A Network is where nodes are that reach each other without the internet, such
// as in one house: those who are [In] it, and those who [Mesh.Move] to it.
type Network struct {
	mesh   *Mesh
	router *simnet.Router
}

// Network makes a network of a kind, in the first region.
func (m *Mesh) Network(kind Kind) *Network {
	m.t.Helper()
	return m.networkIn(m.regions[0], kind)
}

// NetworkNear makes a network of a kind in the region of a code.
func (m *Mesh) NetworkNear(code string, kind Kind) *Network {
	m.t.Helper()
	return m.networkIn(m.region(code), kind)
}

func (m *Mesh) networkIn(r *region, kind Kind) *Network {
	m.t.Helper()
	if kind == OpenInternet {
		return &Network{m, r.router}
	}
	config, ok := kind.router()
	if !ok {
		m.t.Fatalf("meshtest: there is no %v", kind)
	}
	if config.NAT == nil {
		config.Inside = m.publicNetworks(kind != IPv6Only)
	}
	return &Network{m, r.router.Router(config)}
}

// router returns what stands before a network, but for its addresses; not ok
// means that there is no such kind.
func (k Kind) router() (config simnet.RouterConfig, ok bool) {
	switch k {
	case Firewall, IPv6Only:
		config.Firewall = true
	case FullConeNAT:
		config.NAT = &simnet.NAT{Ports: simnet.RandomPorts}
	case EasyNAT:
		config.NAT = simnet.EasyNAT()
	case HardNAT:
		config.NAT = simnet.HardNAT()
	case UDPBlocked:
		config.NAT, config.BlockUDP = simnet.EasyNAT(), true
	default:
		return config, false
	}
	return config, true
}

// BlockUDP has the network's router, from now on, let no UDP through, or let it
// through again. Nodes on the [OpenInternet] have none: it is an error there.
func (n *Network) BlockUDP(block bool) {
	n.mesh.t.Helper()
	if n.router.Link() == nil {
		n.mesh.t.Fatalf("meshtest: UDP cannot be blocked on the open internet")
	}
	n.router.BlockUDP(block)
}

const (
	maxRegions  = 200  // that have addresses, see regionNetworks
	maxNetworks = 1024 // as many, see publicNetworks
)

// regionNetworks are the addresses of a region: 203.1.0.0/16 and
// 2001:db8:100:1::/64 are those of the first.
func regionNetworks(id int) []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(id), 0, 1}), 16),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 1, 0, 0, byte(id), 15: 1}), 64),
	}
}

// publicNetworks returns the addresses of another network behind a firewall,
// which are known everywhere: 62 of 198.19.0.0/16, where hosts on the open
// internet are not, and 2001:db8:200:1::/64.
func (m *Mesh) publicNetworks(withIPv4 bool) (inside []netip.Prefix) {
	m.t.Helper()
	m.mu.Lock()
	i := m.networks
	m.networks++
	m.mu.Unlock()
	if i >= maxNetworks {
		m.t.Fatalf("meshtest: there are %d networks with public addresses, and no addresses for more", i)
	}
	if withIPv4 {
		inside = append(inside, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(i >> 2), byte(i<<6) | 1}), 26))
	}
	ip6 := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 2, 0, byte(i >> 8), byte(i), 15: 1})
	return append(inside, netip.PrefixFrom(ip6, 64))
}
