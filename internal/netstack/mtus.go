package netstack

import (
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// SetMTUs says where packets may be larger than Config.MTU: to the addresses of
// each prefix up to so many bytes of IP packet, the longest prefix deciding. It
// replaces what was said before, and holds for connections that are open and
// data that waits, too: they speed up when an MTU rises, and when it falls they
// send again what was lost. No packet leaves that is too long for its path, so
// nobody need be told of one.
//
// TCP takes Config.MTU for the MTU of every path. That is what it tells peers
// when a connection is made, and how it counts what is under way. Larger packets
// are made of its segments where they leave (see cutter), and a Stack takes
// packets of any size. So a prefix may stand here only if all of its addresses
// are those of a Stack: others expect no more than their connections were told.
func (s *Stack) SetMTUs(raised map[netip.Prefix]int) {
	s.link.mtus.Store(newMTUs(s.link.mtus.Load().base, raised))
	s.log.Debug("path MTUs set", "prefixes", len(raised))
}

// mtus tell how large packets may be on their way to an address. They do not
// change.
type mtus struct {
	base    int // where nothing else is said
	raised  map[netip.Prefix]int
	lengths []int // of the prefixes, from long to short
}

func newMTUs(base int, raised map[netip.Prefix]int) *mtus {
	m := &mtus{base: base, raised: make(map[netip.Prefix]int, len(raised))}
	for prefix, mtu := range raised {
		if prefix = prefix.Masked(); prefix.IsValid() {
			m.raised[prefix] = max(base, min(mtu, maxMTU))
			m.lengths = append(m.lengths, prefix.Bits())
		}
	}
	slices.Sort(m.lengths)
	m.lengths = slices.Compact(m.lengths)
	slices.Reverse(m.lengths)
	return m
}

// to returns the MTU of the path to an address.
func (m *mtus) to(addr netip.Addr) int {
	for _, length := range m.lengths {
		if length > addr.BitLen() { // of IPv6 only; Prefix would allocate an error
			continue
		}
		prefix, _ := addr.Prefix(length)
		if mtu, ok := m.raised[prefix]; ok {
			return mtu
		}
	}
	return m.base
}

// of returns the MTU of the path that pkt takes.
func (m *mtus) of(pkt *stack.PacketBuffer) int {
	if len(m.raised) == 0 {
		return m.base
	}
	return m.to(destinationOf(pkt))
}

// destinationOf returns where pkt goes, or the zero Addr when it has no header
// of gVisor's.
func destinationOf(pkt *stack.PacketBuffer) netip.Addr {
	switch h := pkt.NetworkHeader().Slice(); header.IPVersion(h) {
	case header.IPv4Version:
		return netip.AddrFrom4(header.IPv4(h).DestinationAddress().As4())
	case header.IPv6Version:
		return netip.AddrFrom16(header.IPv6(h).DestinationAddress().As16())
	default:
		return netip.Addr{}
	}
}
