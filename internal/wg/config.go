package wg

import (
	"encoding/hex"
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

// config is what WireGuard is told of peers. Of the prefixes none belongs to two
// peers. Configs do not change once made.
type config map[key.NodePublic]settings

// settings are what WireGuard is told of a peer.
type settings struct {
	prefixes  []netip.Prefix // valid, masked and sorted
	preshared psk.Key        // zero: none
}

// newConfig makes a config of peers from the network: whatever they contain,
// WireGuard accepts the result.
func newConfig(peers []Peer, self key.NodePublic) config {
	c := make(config, len(peers))
	taken := make(map[netip.Prefix]bool, 2*len(peers))
	for _, p := range peers {
		if p.Key.IsZero() || p.Key == self || p.Key == nobody {
			continue
		}
		to, more := c[p.Key]
		if !more {
			to.preshared = p.Preshared
		}
		for _, prefix := range p.AllowedIPs {
			prefix = prefix.Masked()
			if !prefix.IsValid() || taken[prefix] {
				continue
			}
			taken[prefix] = true
			to.prefixes = append(to.prefixes, prefix)
		}
		slices.SortFunc(to.prefixes, netip.Prefix.Compare)
		c[p.Key] = to
	}
	return c
}

// diff returns what to tell WireGuard so that it goes from old to want; it is
// empty when they are equal. Nobody takes over first and gives up last, and a peer
// takes prefixes without asking, so that none is without owner meanwhile. Between
// come removals, then keys in order.
func diff(old, want config) string {
	var b strings.Builder
	had, has := old[nobody].prefixes, want[nobody].prefixes
	takeOver(&b, missing("", has, had))
	for _, k := range sortedKeys(old) {
		if _, stays := want[k]; !stays && k != nobody {
			remove(&b, k)
		}
	}
	for _, k := range sortedKeys(want) {
		if k == nobody {
			continue
		}
		had, stays := old[k]
		set(&b, k, had, want[k], !stays)
	}
	if _, stays := want[nobody]; stays {
		takeOver(&b, missing("-", had, has))
	} else if _, was := old[nobody]; was {
		remove(&b, nobody)
	}
	return b.String()
}

// set gives a peer its settings.
func set(b *strings.Builder, k key.NodePublic, had, want settings, isNew bool) {
	moved := !slices.Equal(had.prefixes, want.prefixes)
	if !isNew && !moved && had.preshared == want.preshared {
		return
	}
	line(b, "public_key", k.Hex())
	if isNew {
		// In the operation that creates the peer, or roaming stays on.
		line(b, "endpoint", k.Hex())
	}
	if had.preshared != want.preshared {
		line(b, "preshared_key", hex.EncodeToString(want.preshared[:]))
	}
	if !moved {
		return
	}
	if !isNew {
		line(b, "replace_allowed_ips", "true")
	}
	for _, prefix := range want.prefixes {
		line(b, "allowed_ip", prefix.String())
	}
}

func remove(b *strings.Builder, k key.NodePublic) {
	line(b, "public_key", k.Hex())
	line(b, "remove", "true")
}

// takeOver changes what nobody has. There is no endpoint.
func takeOver(b *strings.Builder, prefixes []string) {
	if len(prefixes) == 0 {
		return
	}
	line(b, "public_key", nobody.Hex())
	for _, p := range prefixes {
		line(b, "allowed_ip", p)
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
