// Package netmap folds the responses of a coordinator's map stream into a
// [Map]: who we are, who our peers are, and what of them is allowed.
//
// A Map does not change. [Map.Apply] makes the next one, which shares with the
// one before whatever the response leaves as it was: a patch to one of 10,000
// peers copies that peer and a slice of pointers.
//
// The fields of a response apply in this order:
//
//	ControlTime
//	(nothing else of a KeepAlive)
//	Node
//	Peers, or else
//	  PeersRemoved, PeersChanged, PeerSeenChange, OnlineChange, PeersChangedPatch
//	DERPMap, DNSConfig, Domain, UserProfiles, Health, TKAInfo
//	PacketFilter, PacketFilters
//
// The coordinator is believed in what it says, but not to be in order. Nodes
// are normalised when they arrive. A key belongs to one node, and so does an
// address: to ourselves before any peer, else to the peer with the lowest ID.
// A later peer with that key, or without a key, is not among [Map].Peers; one
// with that address is there without it.
//
// Bounds, over which a response is refused: 100,000 peers, user profiles and
// extra DNS records each, 1,048,576 entries of filter rules, 1,000 relay
// regions. Of one node's lists the first entries are kept: 16 addresses, 4,096
// allowed prefixes and primary routes, 100 endpoints. What a single response
// may hold beyond that, such as long texts, is for its reader to bound.
//
// The rules are those of Tailscale's client (v1.102.5,
// control/controlclient/map.go).
package netmap

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/dns"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// Map is what we know of the mesh. It is immutable, with all it refers to, and
// safe for concurrent use.
type Map struct {
	Self  *tailcfg.Node   // never nil
	Peers []*tailcfg.Node // in order of ID; each has a key, which no other has

	DERPMap *derpmap.Map       // nil: none arrived. No region and no node in it is nil
	DNS     *tailcfg.DNSConfig // nil: none arrived
	Names   *dns.Table         // of ourselves, the peers and the extra records
	Servers dns.Servers        // of names that are not in Names
	Domain  string
	Health  []string         // problems that the coordinator sees
	TKA     *tailcfg.TKAInfo // nil: no tailnet lock was ever mentioned

	// Rules are those of all packet filters, in the order of their names. They
	// mean something only if FilterKnown: without it no filter has arrived,
	// and nothing is allowed.
	Rules       []tailcfg.FilterRule
	FilterKnown bool

	nodes   []*tailcfg.Node // all peers as they were told, in order of ID
	index   *index
	users   map[tailcfg.UserID]tailcfg.UserProfile
	filters map[string][]tailcfg.FilterRule

	// clockDelta is how far the coordinator's clock is ahead of ours.
	clockDelta time.Duration
}

// Apply returns the map that follows m when resp has arrived at now. The nil
// Map is the beginning of a stream, in which the first response that is no
// KeepAlive must tell of ourselves; a KeepAlive before it leaves the Map nil.
// On error the map is m, unchanged.
//
// The new Map refers to parts of resp, which the caller must not change.
func (m *Map) Apply(resp *tailcfg.MapResponse, now time.Time) (*Map, error) {
	next := new(Map)
	if m != nil {
		*next = *m
	}
	next.setClock(resp.ControlTime, now)
	if resp.KeepAlive {
		if m == nil {
			return nil, nil
		}
		return next, nil
	}
	if err := next.apply(resp, now); err != nil {
		return m, err
	}
	return next, nil
}

// apply changes the fields of m, which no one else has yet. It may not change
// what they refer to.
func (m *Map) apply(resp *tailcfg.MapResponse, now time.Time) error {
	before := *m
	if resp.Node != nil {
		m.Self = normalised(*resp.Node)
	}
	if m.Self == nil {
		return errors.New("netmap: the first response of the stream does not tell of our own node")
	}
	if resp.DNSConfig != nil {
		m.DNS = resp.DNSConfig
	}
	if resp.Domain != "" {
		m.Domain = resp.Domain
	}
	if resp.Health != nil {
		m.Health = resp.Health
	}
	if resp.TKAInfo != nil {
		m.TKA = resp.TKAInfo
	}
	m.nodes = applyPeers(m.nodes, resp, now)
	m.DERPMap = applyDERPMap(m.DERPMap, resp.DERPMap)
	m.applyUsers(resp.UserProfiles)
	m.applyFilters(resp)
	if err := m.checkBounds(); err != nil {
		return err
	}
	m.link(&before)
	return nil
}

// link derives what follows from the nodes: Peers, index and Names.
func (m *Map) link(before *Map) {
	same := before.Self != nil && sameIdentity(before.Self, m.Self) && slices.EqualFunc(before.nodes, m.nodes, sameIdentity)
	if same && before.index.clean {
		m.Peers = m.nodes
	} else {
		m.Peers, m.index = resolve(m.Self, m.nodes)
	}
	if !same || before.DNS != m.DNS {
		m.Names = nameTable(m.Self, m.Peers, m.DNS)
		m.Servers = nameServers(m.DNS)
	}
}

// ByID returns the node with an ID, ourselves or a peer.
func (m *Map) ByID(id tailcfg.NodeID) (n *tailcfg.Node, ok bool) {
	if m == nil {
		return nil, false
	}
	if id == m.Self.ID {
		return m.Self, true
	}
	i, ok := find(m.Peers, id)
	if !ok {
		return nil, false
	}
	return m.Peers[i], true
}

// ByKey returns the node with a key, ourselves or a peer.
func (m *Map) ByKey(k key.NodePublic) (n *tailcfg.Node, ok bool) {
	if m == nil {
		return nil, false
	}
	id, ok := m.index.byKey[k]
	if !ok {
		return nil, false
	}
	return m.ByID(id)
}

// ByAddr returns the node that has an address as its own, ourselves or a peer.
// Routes through a node are not its own.
func (m *Map) ByAddr(addr netip.Addr) (n *tailcfg.Node, ok bool) {
	if m == nil {
		return nil, false
	}
	id, ok := m.index.byAddr[addr.Unmap()]
	if !ok {
		return nil, false
	}
	return m.ByID(id)
}

// Locked reports whether a tailnet lock is in force: peers are to be trusted
// only with a signature, which this package does not verify.
func (m *Map) Locked() bool { return m != nil && m.TKA != nil && !m.TKA.Disabled }

// find returns where the node with an ID is, or would be.
func find(nodes []*tailcfg.Node, id tailcfg.NodeID) (int, bool) {
	return slices.BinarySearchFunc(nodes, id, func(n *tailcfg.Node, id tailcfg.NodeID) int { return cmp.Compare(n.ID, id) })
}
