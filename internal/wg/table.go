package wg

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/key"
)

// A table says who is behind an address: of the prefixes that contain it the
// longest one's peer, as WireGuard has it of those that it knows. Tables do not
// change once made; the peers in them do.
type table struct {
	byKey   map[key.NodePublic]*peer
	owners  map[netip.Prefix]*peer
	lengths [2][]int // of the prefixes, the longest first: of IPv4, and of IPv6
}

func newTable(peers map[key.NodePublic]*peer) *table {
	t := &table{byKey: maps.Clone(peers), owners: make(map[netip.Prefix]*peer, 2*len(peers))}
	var seen [2][129]bool
	for _, p := range peers {
		for _, prefix := range p.prefixes {
			t.owners[prefix] = p
			seen[family(prefix.Addr())][prefix.Bits()] = true
		}
	}
	for f := range seen {
		for bits := len(seen[f]) - 1; bits >= 0; bits-- {
			if seen[f][bits] {
				t.lengths[f] = append(t.lengths[f], bits)
			}
		}
	}
	return t
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// owner returns whose prefix of at most so many bits contains an address best, or
// nil.
func (t *table) owner(addr netip.Addr, most int) *peer {
	for _, bits := range t.lengths[family(addr)] {
		if bits > most {
			continue
		}
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if p := t.owners[prefix]; p != nil {
			return p
		}
	}
	return nil
}

// nested are the prefixes that lie in another peer's.
func (t *table) nested() map[netip.Prefix]*peer {
	if len(t.lengths[0]) < 2 && len(t.lengths[1]) < 2 {
		return nil
	}
	nested := make(map[netip.Prefix]*peer)
	for prefix, p := range t.owners {
		if around := t.owner(prefix.Addr(), prefix.Bits()-1); around != nil && around != p {
			nested[prefix] = p
		}
	}
	return nested
}

// destination returns where an IP packet goes, or the zero Addr.
func destination(packet []byte) netip.Addr {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[16:20]))
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[24:40]))
	}
	return netip.Addr{}
}

// sorted returns prefixes in their order.
func sorted(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return prefixes
}
