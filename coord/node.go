package coord

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// node is the record of a member of the tailnet.
type node struct {
	ID       tailcfg.NodeID // never reused
	Machine  key.MachinePublic
	Key      key.NodePublic
	Name     string // its DNS label, unique in the tailnet
	Wanted   string // the label it asked for; Name differs when that was taken
	Renamed  bool   `json:",omitzero"` // by an administrator: Wanted has no say
	IPv4     netip.Addr
	IPv6     netip.Addr
	User     tailcfg.UserID // who brought it; tags take the user's place
	Tags     []string       `json:",omitempty"`
	Created  time.Time
	LastSeen time.Time // when it was last online, or made
	// KeyExpiry is when Key stops being good, or zero.
	KeyExpiry time.Time `json:",omitzero"`
	Ephemeral bool      `json:",omitzero"`
	// Approved are routes that the node may have, in order, and Primary those
	// of them for which its peers use it.
	Approved []netip.Prefix `json:",omitempty"`
	Primary  []netip.Prefix `json:",omitempty"`
	// Stream is the coordinator that has the node's map stream, or had it a few
	// seconds ago; empty when the node is offline.
	Stream string `json:",omitzero"`

	// What the node reported of itself.
	Version   tailcfg.CapabilityVersion
	DiscoKey  key.DiscoPublic
	HomeDERP  int              `json:",omitzero"`
	Latency   latencies        `json:",omitempty"`
	Endpoints []netip.AddrPort `json:",omitempty"`
	Hostinfo  tailcfg.Hostinfo

	Expired bool `json:"-"` // KeyExpiry has passed
}

func (n *node) entryKey() string { return entryKey(kindNode, int64(n.ID)) }

func (n *node) check() error {
	if n.ID <= 0 || n.Key.IsZero() || n.Machine.IsZero() || !n.IPv4.Is4() || !n.IPv6.Is6() || n.Name != label(n.Name) {
		return errors.New("the node is incomplete")
	}
	return nil
}

func (n *node) enter(s *state) {
	s.alter(n.ID)
	s.nodes[n.ID] = n
	s.byKey[n.Key] = n.ID
	s.byName[n.Name] = n.ID
	s.byAddr[n.IPv4], s.byAddr[n.IPv6] = n.ID, n.ID
	if len(n.Hostinfo.RoutableIPs) > 0 || len(n.Primary) > 0 {
		s.routers[n.ID], s.routesAltered = true, true
	}
	s.byMachine[n.Machine] = append(s.byMachine[n.Machine], n.ID)
	if !n.Expired && !n.KeyExpiry.IsZero() {
		s.dueAt(n.KeyExpiry)
	}
	if forget := n.forgetAt(); !forget.IsZero() {
		s.dueAt(forget)
	}
	if n.Stream != "" && s.coordinators[n.Stream] == nil {
		s.dueAt(longAgo)
	}
}

func (n *node) leave(s *state) {
	s.alter(n.ID)
	delete(s.nodes, n.ID)
	if s.routers[n.ID] {
		delete(s.routers, n.ID)
		s.routesAltered = true
	}
	disown(s.byKey, n.Key, n.ID)
	disown(s.byName, n.Name, n.ID)
	disown(s.byAddr, n.IPv4, n.ID)
	disown(s.byAddr, n.IPv6, n.ID)
	others := slices.DeleteFunc(s.byMachine[n.Machine], func(id tailcfg.NodeID) bool { return id == n.ID })
	if s.byMachine[n.Machine] = others; len(others) == 0 {
		delete(s.byMachine, n.Machine)
	}
}

// disown deletes the key from an index, unless it has passed to another node.
func disown[K comparable](index map[K]tailcfg.NodeID, k K, id tailcfg.NodeID) {
	if index[k] == id {
		delete(index, k)
	}
}

// alter notes that the node is about to change.
func (s *state) alter(id tailcfg.NodeID) {
	if _, ok := s.altered[id]; !ok {
		s.altered[id] = s.nodes[id]
	}
}

// online reports whether the node has a map stream, or had one a few seconds
// ago.
func (n *node) online() bool { return n.Stream != "" }

// forgetAt returns when the node is to be forgotten if it does not come back,
// or zero.
func (n *node) forgetAt() time.Time {
	if !n.Ephemeral || n.online() {
		return time.Time{}
	}
	return n.LastSeen.Add(offlineAfter + forgetAfter)
}

func (n *node) stableID() string { return fmt.Sprintf("n%d", n.ID) }

// shownUser returns the user that the node is shown to belong to.
func (n *node) shownUser() tailcfg.UserID {
	if len(n.Tags) > 0 {
		return taggedUser
	}
	return n.User
}

// looksLike reports whether the node and other, which is the same node at
// another moment, are the same to the policy.
func (n *node) looksLike(other *node) bool {
	return n.Expired == other.Expired && n.User == other.User && slices.Equal(n.Tags, other.Tags) && slices.Equal(n.routes(), other.routes())
}

// ownPrefixes returns the addresses as prefixes.
func (n *node) ownPrefixes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(n.IPv4, n.IPv4.BitLen()), netip.PrefixFrom(n.IPv6, n.IPv6.BitLen())}
}

// fullName returns the MagicDNS name, without a trailing dot.
func (n *node) fullName(domain string) string { return n.Name + "." + domain }

func (n *node) addrs() []netip.Addr { return []netip.Addr{n.IPv4, n.IPv6} }

// wire returns the node as the protocol shows it to itself and to its peers.
func (n *node) wire(domain string) *tailcfg.Node {
	online := n.online()
	w := &tailcfg.Node{
		ID:                n.ID,
		StableID:          n.stableID(),
		Name:              n.fullName(domain) + ".",
		User:              n.shownUser(),
		Key:               n.Key,
		KeyExpiry:         n.KeyExpiry,
		DiscoKey:          n.DiscoKey,
		Addresses:         n.ownPrefixes(),
		AllowedIPs:        n.allowedIPs(),
		PrimaryRoutes:     n.Primary,
		Endpoints:         n.Endpoints,
		HomeDERP:          n.HomeDERP,
		Hostinfo:          &n.Hostinfo,
		Created:           n.Created,
		Cap:               n.Version,
		Tags:              n.Tags,
		Online:            &online,
		MachineAuthorized: true,
		Expired:           n.Expired,
	}
	if !online {
		w.LastSeen = &n.LastSeen
	}
	return w
}

// Node describes a node to an administrator.
type Node struct {
	ID        int64  // never reused
	Name      string // the MagicDNS name, without a trailing dot
	Hostname  string // what the machine calls itself
	OS        string
	Key       key.NodePublic
	Machine   key.MachinePublic
	IPv4      netip.Addr
	IPv6      netip.Addr
	User      string // login of who brought it; if it has tags, they take the user's place
	Tags      []string
	Ephemeral bool
	Created   time.Time
	KeyExpiry time.Time `json:",omitzero"` // zero: never
	Expired   bool      // by KeyExpiry, by ExpireNode or because the node logged out
	Online    bool
	LastSeen  time.Time `json:",omitzero"` // if not online
	HomeDERP  int       // region where it is reached; 0 is unknown
	Endpoints []netip.AddrPort
	// Latency is how far the node is from relays, by their region, as it last
	// said.
	Latency map[int]time.Duration
}

func (n *node) describe(t *terms) Node {
	var login string
	if u := t.users[n.User]; u != nil {
		login = u.Login
	}
	return Node{
		User:      login,
		ID:        int64(n.ID),
		Name:      n.fullName(t.domain),
		Hostname:  n.Hostinfo.Hostname,
		OS:        n.Hostinfo.OS,
		Key:       n.Key,
		Machine:   n.Machine,
		IPv4:      n.IPv4,
		IPv6:      n.IPv6,
		Tags:      slices.Clone(n.Tags),
		Ephemeral: n.Ephemeral,
		Created:   n.Created,
		KeyExpiry: n.KeyExpiry,
		Expired:   n.Expired,
		Online:    n.online(),
		LastSeen:  n.LastSeen,
		HomeDERP:  n.HomeDERP,
		Endpoints: slices.Clone(n.Endpoints),
		Latency:   maps.Clone(n.Latency),
	}
}
