package meshnet

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

// State is where a node stands on its way into the mesh.
type State string

// The states of a node.
const (
	StateStopped       State = "stopped"        // not started yet
	StateStarting      State = "starting"       // on its way to the coordinator
	StateNeedsLogin    State = "needs login"    // a person must open Status.AuthURL
	StateNeedsApproval State = "needs approval" // an admin must approve the node
	StateRunning       State = "running"        // a member, with a network map
	StateFailed        State = "failed"         // given up, see Status.Err; Up tries again
	StateLoggedOut     State = "logged out"     // by Logout; Up joins again
	StateClosed        State = "closed"
)

// Status describes a node and its peers at one moment.
type Status struct {
	State State
	// AuthURL is the page to open in StateNeedsLogin, and during
	// [Server.Reauth].
	AuthURL string
	// Err is why the node failed, or the last problem on the way; nil while
	// it is running.
	Err error
	// Health is what keeps the node from working, or from working well: a
	// sentence for each problem, with what to do about it.
	Health []string
	// Domain is the suffix of the names in the mesh, without dots around it.
	Domain string
	// Self is this node; its Name is empty until the coordinator has given one.
	Self PeerStatus
	// Peers are the other nodes that this one may see, by name.
	Peers []PeerStatus
}

// PeerStatus describes one node.
type PeerStatus struct {
	ID        string // the coordinator's, stable for the node's life
	Name      string // full name in the mesh, without a trailing dot
	Key       key.NodePublic
	Addresses []netip.Addr
	User      string   // login name of the owner; empty for a tagged node
	Tags      []string // such as "tag:web"
	// Routes are the addresses behind a peer that are reached through it: what
	// AcceptRoutes and ExitNode accept. Of this node they are the advertised ones
	// that the coordinator has approved.
	Routes []netip.Prefix
	// Online is whether the node is connected to the coordinator, as far as
	// the coordinator says.
	Online   bool
	LastSeen time.Time // zero when online or unknown
	// KeyExpiry is when, by this host's clock, its key expires; zero is never.
	KeyExpiry time.Time
	Expired   bool // its key has; it cannot be reached
	Path      Path
	// BytesSent and BytesReceived count what WireGuard carried, handshakes
	// and its overhead included.
	BytesSent, BytesReceived int64
	// LastHandshake is when the WireGuard session was last renewed; zero when
	// there is none.
	LastHandshake time.Time
	// PostQuantum is whether a preshared key is agreed on with it for its
	// sessions: see [Server.PostQuantum].
	PostQuantum bool
}

// Path is how packets travel to a peer.
type Path struct {
	// Direct is the peer's address on the underlay; invalid while packets go
	// through a relay.
	Direct netip.AddrPort
	// Relay is the code of the relay region in use, such as "fra"; empty when
	// the path is direct or none is known.
	Relay string
	// MTU is the size in bytes of the largest IP packet that goes to the peer in
	// one piece: 1280, and more on a direct path to a meshnet node when the
	// network beneath carries it. A UDP datagram may be 28 bytes shorter over
	// IPv4, 48 over IPv6. Zero while no path is known.
	MTU int
}

// String is the direct address, "relay" and the region, or "none".
func (p Path) String() string {
	switch {
	case p.Direct.IsValid():
		return p.Direct.String()
	case p.Relay != "":
		return "relay " + p.Relay
	}
	return "none"
}

// status describes the node now.
func (n *node) status() *Status { return n.describeView(n.view.load()) }

// describeView describes the node as it is in v.
func (n *node) describeView(v view) *Status {
	now := time.Now()
	s := &Status{State: v.state, AuthURL: v.authURL, Err: v.err, Health: v.health(now)}
	m := v.netMap
	if m == nil {
		return s
	}
	if v.state == StateRunning {
		s.Health = append(s.Health, n.routeHealth(m)...)
		s.Health = append(s.Health, n.certificateHealth(now)...)
	}
	s.Domain = m.Domain
	s.Self = describe(m, m.Self, now)
	s.Self.Routes = n.cfg.routes.approved(m.Self)
	counters, err := n.wg.Stats()
	if err != nil {
		n.cfg.log.Debug("reading WireGuard's counters", "err", err)
	}
	s.Peers = make([]PeerStatus, len(m.Peers))
	for i, p := range m.Peers {
		s.Peers[i] = describe(m, p, now)
		n.describeWay(&s.Peers[i], m, p)
		s.Peers[i].Routes = n.cfg.routes.through(m, p)
		c := counters[p.Key]
		s.Peers[i].BytesSent, s.Peers[i].BytesReceived, s.Peers[i].LastHandshake = int64(c.TxBytes), int64(c.RxBytes), c.LastHandshake
	}
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// describe tells what the map knows of a node.
func describe(m *netmap.Map, p *tailcfg.Node, now time.Time) PeerStatus {
	s := PeerStatus{
		ID:        p.StableID,
		Name:      strings.TrimSuffix(p.Name, "."),
		Key:       p.Key,
		Addresses: addrs(p),
		Tags:      slices.Clone(p.Tags),
		Online:    p.Online != nil && *p.Online,
		KeyExpiry: m.Expiry(p),
		Expired:   m.Expired(p, now),
	}
	if len(p.Tags) == 0 {
		if user, ok := m.User(p.User); ok {
			s.User = user.LoginName
		}
	}
	if p.LastSeen != nil && !s.Online {
		s.LastSeen = *p.LastSeen
	}
	return s
}

// describeWay adds what the node knows of the way to a peer.
func (n *node) describeWay(s *PeerStatus, m *netmap.Map, p *tailcfg.Node) {
	info, _ := n.magic.PeerInfo(p.Key)
	s.Path, s.PostQuantum = describePath(m, info), info.PresharedKey
}

// path says how packets to a peer go.
func (n *node) path(m *netmap.Map, p *tailcfg.Node) Path {
	info, _ := n.magic.PeerInfo(p.Key)
	return describePath(m, info)
}

func describePath(m *netmap.Map, info magicsock.PeerInfo) Path {
	if info.Direct.IsValid() {
		return Path{Direct: info.Direct, MTU: wg.PacketSize(info.MTU)}
	}
	if info.Relay == 0 {
		return Path{}
	}
	return relayPath(m, info.Relay)
}

// relayPath is the path through a relay region.
func relayPath(m *netmap.Map, id int) Path {
	if m.DERPMap != nil {
		if region := m.DERPMap.Regions[id]; region != nil && region.RegionCode != "" {
			return Path{Relay: region.RegionCode, MTU: overlayMTU}
		}
	}
	return Path{Relay: strconv.Itoa(id), MTU: overlayMTU}
}
