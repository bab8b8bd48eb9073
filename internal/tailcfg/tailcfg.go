// Package tailcfg holds the JSON types of the control protocol, as Tailscale's
// package of the same name defines them on the wire: what a node and its
// coordinator say to each other. Types only, and of their fields only those
// that meshnet uses; decoders ignore the others.
//
// In a streamed [MapResponse] an absent field means "unchanged".
package tailcfg

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// CapabilityVersion tells a coordinator what a node understands. It stands in
// the /key query, in the Noise header and in every request.
type CapabilityVersion int

// CurrentCapability is what meshnet claims. 113 is the least that Headscale
// takes; from 120 on peers expect us to understand UDP relays.
const CurrentCapability CapabilityVersion = 119

// NodeID numbers a node within its tailnet, for life. It is positive.
type NodeID int64

// UserID numbers a user within its tailnet.
type UserID int64

// Node is a member of the tailnet, as one other member may see it.
type Node struct {
	ID         NodeID
	StableID   string // never reused
	Name       string // FQDN with a trailing dot: the MagicDNS name
	User       UserID
	Key        key.NodePublic
	KeyExpiry  time.Time                    `json:",omitzero"` // zero: never
	Machine    key.MachinePublic            `json:",omitzero"`
	DiscoKey   key.DiscoPublic              `json:",omitzero"`
	Addresses  []netip.Prefix               // its own, each a single address
	AllowedIPs []netip.Prefix               `json:",omitzero"` // Addresses and routes; null: just Addresses
	Endpoints  []netip.AddrPort             `json:",omitempty"`
	LegacyDERP string                       `json:"DERP,omitzero"` // "127.3.3.40:N": HomeDERP as older servers write it
	HomeDERP   int                          `json:",omitzero"`     // region where the node is reached
	Hostinfo   *Hostinfo                    `json:",omitzero"`
	Created    time.Time                    `json:",omitzero"`
	Cap        CapabilityVersion            `json:",omitzero"`
	Tags       []string                     `json:",omitempty"` // "tag:name"; a tagged node has no user
	LastSeen   *time.Time                   `json:",omitempty"`
	Online     *bool                        `json:",omitempty"` // nil: unknown
	CapMap     map[string][]json.RawMessage `json:",omitempty"`

	// MachineAuthorized is false while an admin's approval is pending.
	MachineAuthorized bool `json:",omitempty"`
	// Capabilities is how older servers write CapMap: its keys alone.
	Capabilities []string `json:",omitempty"`
	// PrimaryRoutes are those of AllowedIPs for which this node is the router.
	PrimaryRoutes []netip.Prefix `json:",omitempty"`
	// UnsignedPeerAPIOnly nodes have no access but to a PeerAPI.
	UnsignedPeerAPIOnly bool `json:",omitzero"`
	Expired             bool `json:",omitzero"`
	// IsWireGuardOnly nodes speak neither disco nor DERP.
	IsWireGuardOnly bool `json:",omitzero"`
	// IsJailed nodes may not start connections to us.
	IsJailed bool `json:",omitzero"`
}

// Hostinfo is what a node tells of itself.
type Hostinfo struct {
	IPNVersion  string         `json:",omitzero"` // version of the software
	OS          string         `json:",omitzero"`
	Hostname    string         `json:",omitzero"`
	GoArch      string         `json:",omitzero"`
	GoVersion   string         `json:",omitzero"`
	App         string         `json:",omitzero"`
	RoutableIPs []netip.Prefix `json:",omitempty"` // advertised routes
	RequestTags []string       `json:",omitempty"`
	Services    []Service      `json:",omitempty"`
	NetInfo     *NetInfo       `json:",omitempty"`
	Userspace   *bool          `json:",omitempty"`
}

// Service is something that listens on a node, such as "peerapi4".
type Service struct {
	Proto       string
	Port        uint16
	Description string `json:",omitempty"`
}

// NetInfo is what a node found out about its network. Nil means unknown.
type NetInfo struct {
	MappingVariesByDestIP *bool `json:",omitempty"` // a hard NAT
	WorkingIPv6           *bool `json:",omitempty"`
	OSHasIPv6             *bool `json:",omitempty"`
	WorkingUDP            *bool `json:",omitempty"`
	HavePortMap           bool  `json:",omitzero"`
	UPnP                  *bool `json:",omitempty"`
	PMP                   *bool `json:",omitempty"`
	PCP                   *bool `json:",omitempty"`
	PreferredDERP         int   `json:",omitzero"` // home region
	// DERPLatency in seconds by "region-v4" or "region-v6".
	DERPLatency map[string]float64 `json:",omitempty"`
}

// EndpointType says how a node came to know one of its endpoints.
type EndpointType int

// The kinds of endpoints.
const (
	EndpointLocal      EndpointType = 1 // address of an interface
	EndpointSTUN       EndpointType = 2 // what a STUN server saw
	EndpointPortmapped EndpointType = 3 // mapped by the router at our request
	EndpointSTUN4Local EndpointType = 4 // STUN's address with our local port
	EndpointExplicit   EndpointType = 5 // configured
)

// RegisterRequest asks the coordinator to make a node key a member: the body
// of POST /machine/register. The machine key is that of the connection.
type RegisterRequest struct {
	Version    CapabilityVersion
	NodeKey    key.NodePublic
	OldNodeKey key.NodePublic // the key that NodeKey replaces
	Auth       *RegisterAuth  `json:",omitempty"`
	Expiry     time.Time      // in the past: log out
	Followup   string         // an AuthURL: answer when it has been visited
	Hostinfo   *Hostinfo
	Ephemeral  bool   `json:",omitempty"`
	Tailnet    string `json:",omitempty"`
}

// RegisterAuth is the credential of a registration.
type RegisterAuth struct {
	AuthKey string `json:",omitempty"`
}

// RegisterResponse answers a [RegisterRequest].
type RegisterResponse struct {
	User              User
	Login             Login
	NodeKeyExpired    bool   // make a new node key and register it
	MachineAuthorized bool   // false: an admin's approval is pending
	AuthURL           string // a person must open it
	Error             string // refused, and why; the other fields mean nothing
	// NodeKeySignature is set when a tailnet lock wants a new key signed.
	NodeKeySignature []byte `json:",omitempty"`
}

// User is who owns a node.
type User struct {
	ID          UserID
	DisplayName string    `json:",omitempty"`
	Created     time.Time `json:",omitzero"`
}

// Login is the account with which a user signed in.
type Login struct {
	ID          int64  `json:",omitzero"`
	Provider    string `json:",omitempty"`
	LoginName   string `json:",omitempty"`
	DisplayName string `json:",omitempty"`
}

// UserProfile is how a user is shown.
type UserProfile struct {
	ID            UserID
	LoginName     string // such as "alice@example.com"
	DisplayName   string
	ProfilePicURL string   `json:",omitzero"`
	Groups        []string `json:",omitempty"`
}

// MapRequest asks for the network map, or reports a node's state: the body of
// POST /machine/map. With Stream it is a long poll; with OmitPeers and without
// Stream it only reports.
type MapRequest struct {
	Version       CapabilityVersion
	Compress      string `json:",omitempty"` // "zstd", or none
	KeepAlive     bool   `json:",omitempty"`
	NodeKey       key.NodePublic
	DiscoKey      key.DiscoPublic
	Stream        bool `json:",omitempty"`
	Hostinfo      *Hostinfo
	Endpoints     []netip.AddrPort `json:",omitempty"`
	EndpointTypes []EndpointType   `json:",omitempty"` // one for each of Endpoints
	OmitPeers     bool             `json:",omitempty"`
}

// MapResponse is one frame of the long poll. In the first of a stream absent
// fields are empty, later they are unchanged.
type MapResponse struct {
	// KeepAlive frames carry nothing but PingRequest, PopBrowserURL and
	// ControlTime.
	KeepAlive     bool         `json:",omitempty"`
	PingRequest   *PingRequest `json:",omitempty"`
	PopBrowserURL string       `json:",omitempty"`

	Node    *Node        `json:",omitempty"` // the node that asks
	DERPMap *derpmap.Map `json:",omitempty"`

	// Peers, if not empty, replaces all peers; the fields below it are then
	// ignored. They apply in their order here.
	Peers             []*Node         `json:",omitempty"`
	PeersRemoved      []NodeID        `json:",omitempty"`
	PeersChanged      []*Node         `json:",omitempty"`
	PeerSeenChange    map[NodeID]bool `json:",omitempty"` // true: seen now; false: gone
	OnlineChange      map[NodeID]bool `json:",omitempty"`
	PeersChangedPatch []*PeerChange   `json:",omitempty"`

	DNSConfig *DNSConfig `json:",omitempty"`
	Domain    string     `json:",omitempty"`

	// PacketFilter replaces the rules named "base"; non-nil and empty, it
	// removes them.
	PacketFilter []FilterRule `json:",omitempty"`
	// PacketFilters replaces rules by name; a null value deletes them, and "*"
	// with null deletes all first.
	PacketFilters map[string][]FilterRule `json:",omitempty"`

	UserProfiles []UserProfile `json:",omitempty"` // upserts by ID
	Health       []string      `json:",omitempty"` // problems; non-nil and empty: none
	ControlTime  *time.Time    `json:",omitempty"`
	TKAInfo      *TKAInfo      `json:",omitempty"`
	Debug        *Debug        `json:",omitempty"`
}

// PeerChange is a small change to one peer. Absent fields are unchanged.
type PeerChange struct {
	NodeID     NodeID
	DERPRegion int                          `json:",omitzero"`
	Cap        CapabilityVersion            `json:",omitzero"`
	CapMap     map[string][]json.RawMessage `json:",omitempty"`
	Endpoints  []netip.AddrPort             `json:",omitempty"`
	Key        *key.NodePublic              `json:",omitempty"`
	DiscoKey   *key.DiscoPublic             `json:",omitempty"`
	Online     *bool                        `json:",omitempty"`
	LastSeen   *time.Time                   `json:",omitempty"`
	KeyExpiry  *time.Time                   `json:",omitempty"`
}

// DNSConfig is how names are resolved in the tailnet.
type DNSConfig struct {
	Resolvers []Resolver `json:",omitempty"`
	// Routes names the resolvers of a suffix. No resolvers means that the
	// node itself answers for the suffix.
	Routes       map[string][]Resolver `json:",omitempty"`
	Domains      []string              `json:",omitempty"` // search list
	Proxied      bool                  `json:",omitzero"`  // MagicDNS is on
	CertDomains  []string              `json:",omitempty"`
	ExtraRecords []DNSRecord           `json:",omitempty"`
}

// Resolver is a DNS server: an address, address and port, or a URL.
type Resolver struct {
	Addr string `json:",omitempty"`
}

// DNSRecord is a name of the tailnet that is not a node's.
type DNSRecord struct {
	Name  string
	Type  string `json:",omitempty"` // "A" or "AAAA"; empty: by Value
	Value string
}

// FilterRule allows traffic, or grants application capabilities.
type FilterRule struct {
	// SrcIPs are "*", addresses, prefixes, ranges "a-b", or "cap:name" for the
	// peers that have that capability.
	SrcIPs []string
	// DstPorts are where the sources may send. Exclusive with CapGrant.
	DstPorts []NetPortRange `json:",omitempty"`
	// IPProto is the protocols; empty means TCP, UDP and ICMP.
	IPProto  []int      `json:",omitempty"`
	CapGrant []CapGrant `json:",omitempty"`
}

// NetPortRange is destinations: addresses in a form of [FilterRule].SrcIPs,
// and ports.
type NetPortRange struct {
	IP    string
	Ports PortRange
}

// PortRange is the ports from First to Last, both included.
type PortRange struct {
	First uint16
	Last  uint16
}

// CapGrant gives the sources of its rule capabilities at the destinations.
type CapGrant struct {
	Dsts   []netip.Prefix
	CapMap map[string][]json.RawMessage `json:",omitempty"`
	Caps   []string                     `json:",omitempty"` // capabilities without values
}

// PingRequest asks a node to prove that it is there. Without Types it answers
// with a HEAD request to URL; else with the result of the ping, by POST.
type PingRequest struct {
	URL        string
	URLIsNoise bool       `json:",omitzero"` // URL is reached through the control connection
	Types      string     `json:",omitzero"` // comma-separated: "disco", "TSMP", "ICMP", "peerapi"; or "c2n"
	IP         netip.Addr `json:",omitzero"` // whom to ping
	Payload    []byte     `json:",omitempty"`
}

// PingResponse is how a ping went that the coordinator had a node send. Of
// Endpoint, PeerRelay and DERPRegionID at most one is set.
type PingResponse struct {
	Type           string  // one of PingRequest.Types
	IP             string  `json:",omitempty"` // whom it was sent to
	NodeIP         string  `json:",omitempty"` // of the node that has IP
	NodeName       string  `json:",omitempty"` // and its name, without the domain
	Err            string  `json:",omitempty"`
	LatencySeconds float64 `json:",omitempty"`
	Endpoint       string  `json:",omitempty"` // "ip:port", of a direct path
	PeerRelay      string  `json:",omitempty"` // "ip:port:vni:number", through another node
	DERPRegionID   int     `json:",omitempty"`
	DERPRegionCode string  `json:",omitempty"`
	PeerAPIPort    uint16  `json:",omitempty"`
	IsLocalIP      bool    `json:",omitempty"` // IP is the node's own
}

// Names in CapMap of what a coordinator tells a node of itself.
const (
	// CapHTTPS says that DNSConfig.CertDomains is meant.
	CapHTTPS = "https"
	// CapAuthority is meshnet's own: its values are the certificates, in DER, of
	// authorities that sign for the nodes of the mesh; see CertificateRequest.
	CapAuthority = "https://github.com/meshnet-go/meshnet/cap/authority"
)

// SetDNSRequest asks the coordinator to publish a record, for a challenge of
// ACME: the body of POST /machine/set-dns.
type SetDNSRequest struct {
	Version CapabilityVersion
	NodeKey key.NodePublic
	Name    string
	Type    string // "TXT"
	Value   string
}

// CertificateRequest asks meshnet's coordinator for a TLS certificate: the body of
// POST /machine/certificate.
type CertificateRequest struct {
	Version CapabilityVersion
	NodeKey key.NodePublic
	Request []byte // PKCS #10, in DER
}

// CertificateResponse answers a CertificateRequest.
type CertificateResponse struct {
	Chain [][]byte // in DER, the node's own first
}

// TKAInfo says that a tailnet lock is in force: peers are only trusted with a
// signature.
type TKAInfo struct {
	Head     string `json:",omitempty"`
	Disabled bool   `json:",omitempty"`
}

// Debug is settings that the coordinator may impose.
type Debug struct {
	SleepSeconds   float64 `json:",omitempty"`
	DisableLogTail bool    `json:",omitempty"` // send no logs to Tailscale
}
