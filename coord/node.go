package coord

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// node is a member of the tailnet. A node is never changed once the state holds
// it: a changed copy takes its place. So snapshots share nodes, and a pointer
// that stayed the same says that nothing changed.
type node struct {
	ID       tailcfg.NodeID // never reused
	Machine  key.MachinePublic
	Key      key.NodePublic
	Name     string // its DNS label, unique in the tailnet
	Wanted   string // the label it asked for; Name differs when that was taken
	Renamed  bool   `json:",omitzero"` // by an administrator: Wanted has no say
	IPv4     netip.Addr
	IPv6     netip.Addr
	User     tailcfg.UserID
	Tags     []string `json:",omitempty"`
	Created  time.Time
	LastSeen time.Time // when it was last online, or made
	// KeyExpiry is when Key stops being good, or zero.
	KeyExpiry time.Time `json:",omitzero"`
	Ephemeral bool      `json:",omitzero"`

	// What the node reported of itself.
	Version   tailcfg.CapabilityVersion
	DiscoKey  key.DiscoPublic
	HomeDERP  int              `json:",omitzero"`
	Endpoints []netip.AddrPort `json:",omitempty"`
	Hostinfo  tailcfg.Hostinfo

	Online  bool `json:",omitzero"` // it has a map stream, or had one a few seconds ago
	Expired bool `json:"-"`         // KeyExpiry has passed
}

func (n *node) stableID() string { return fmt.Sprintf("n%d", n.ID) }

// sees reports whether n is told of peer.
func (n *node) sees(peer *node) bool {
	return n.ID != peer.ID && !n.Expired && !peer.Expired
}

// wire returns the node as the protocol shows it to itself and to its peers.
func (n *node) wire(domain string) *tailcfg.Node {
	w := &tailcfg.Node{
		ID:        n.ID,
		StableID:  n.stableID(),
		Name:      n.Name + "." + domain + ".",
		User:      n.User,
		Key:       n.Key,
		KeyExpiry: n.KeyExpiry,
		DiscoKey:  n.DiscoKey,
		Addresses: []netip.Prefix{
			netip.PrefixFrom(n.IPv4, n.IPv4.BitLen()),
			netip.PrefixFrom(n.IPv6, n.IPv6.BitLen()),
		},
		Endpoints:         n.Endpoints,
		HomeDERP:          n.HomeDERP,
		Hostinfo:          &n.Hostinfo,
		Created:           n.Created,
		Cap:               n.Version,
		Tags:              n.Tags,
		Online:            &n.Online,
		MachineAuthorized: true,
		Expired:           n.Expired,
	}
	if !n.Online {
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
	Tags      []string
	Ephemeral bool
	Created   time.Time
	KeyExpiry time.Time // zero: never
	Expired   bool      // by KeyExpiry, by ExpireNode or because the node logged out
	Online    bool
	LastSeen  time.Time // if not online
	HomeDERP  int       // region where it is reached; 0 is unknown
}

func (n *node) describe(domain string) Node {
	return Node{
		ID:        int64(n.ID),
		Name:      n.Name + "." + domain,
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
		Online:    n.Online,
		LastSeen:  n.LastSeen,
		HomeDERP:  n.HomeDERP,
	}
}
