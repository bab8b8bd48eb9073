package wg

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// Peer is a node that we exchange packets with.
type Peer struct {
	Key key.NodePublic
	// AllowedIPs are the addresses behind the peer: what is sent to them goes
	// to it, and it may send from no others.
	AllowedIPs []netip.Prefix
	// Preshared is the preshared key of a peer that is new, before
	// [Device.SetPresharedKey] says another.
	Preshared psk.Key
}

// config is what WireGuard is told of peers: the prefixes of each, which are
// valid, masked and sorted, and of which none belongs to two peers. Configs do
// not change once made.
type config map[key.NodePublic][]netip.Prefix

// newConfig makes a config of peers from the network: whatever they contain,
// WireGuard accepts the result.
func newConfig(peers []Peer, self key.NodePublic) config {
	c := make(config, len(peers))
	taken := make(map[netip.Prefix]bool, 2*len(peers))
	for _, p := range peers {
		if p.Key.IsZero() || p.Key == self || p.Key == nobody {
			continue
		}
		prefixes := c[p.Key]
		for _, prefix := range p.AllowedIPs {
			prefix = prefix.Masked()
			if !prefix.IsValid() || taken[prefix] {
				continue
			}
			taken[prefix] = true
			prefixes = append(prefixes, prefix)
		}
		slices.SortFunc(prefixes, netip.Prefix.Compare)
		c[p.Key] = prefixes
	}
	return c
}

// diff returns what to tell WireGuard so that it goes from old to want; it is
// empty when they are equal. Nobody takes over first, so that no prefix is
// without owner meanwhile; then come removals, then keys in order.
func diff(old, want config) string {
	var b strings.Builder
	if prefixes, ok := want[nobody]; ok {
		takeOver(&b, old[nobody], prefixes)
	}
	for _, k := range sortedKeys(old) {
		if _, stays := want[k]; !stays {
			line(&b, "public_key", k.Hex())
			line(&b, "remove", "true")
		}
	}
	for _, k := range sortedKeys(want) {
		prefixes := want[k]
		had, stays := old[k]
		switch {
		case k == nobody:
			continue
		case !stays:
			line(&b, "public_key", k.Hex())
			// In the operation that creates the peer, or roaming stays on.
			line(&b, "endpoint", k.Hex())
		case slices.Equal(had, prefixes):
			continue
		default:
			line(&b, "public_key", k.Hex())
			line(&b, "replace_allowed_ips", "true")
		}
		for _, prefix := range prefixes {
			line(&b, "allowed_ip", prefix.String())
		}
	}
	return b.String()
}

// takeOver gives nobody, who had some prefixes, those of want. There is no
// endpoint.
func takeOver(b *strings.Builder, had, want []netip.Prefix) {
	lines := missing("-", had, want)
	lines = append(lines, missing("", want, had)...)
	if len(lines) == 0 {
		return
	}
	line(b, "public_key", nobody.Hex())
	for _, l := range lines {
		line(b, "allowed_ip", l)
	}
}

// missing returns those of a sorted list that are not in another.
func missing(sign string, list, other []netip.Prefix) (lines []string) {
	for _, p := range list {
		if _, ok := slices.BinarySearchFunc(other, p, netip.Prefix.Compare); !ok {
			lines = append(lines, sign+p.String())
		}
	}
	return lines
}

func line(b *strings.Builder, name, value string) {
	b.WriteString(name)
	b.WriteByte('=')
	b.WriteString(value)
	b.WriteByte('\n')
}

func sortedKeys(c config) []key.NodePublic {
	return slices.SortedFunc(maps.Keys(c), key.NodePublic.Compare)
}
