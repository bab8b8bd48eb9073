package magicsock

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/key"
)

// Peer is a node that we exchange packets with.
type Peer struct {
	Key      key.NodePublic
	Disco    key.DiscoPublic // zero: none, and its disco messages are ignored
	HomeDERP int             // region where it is found; 0 when not known
	// Endpoints are where the coordinator believes the peer to be on the
	// underlay.
	Endpoints []netip.AddrPort
}

// peerTable has the peers by node key. A table does not change once it is
// stored; the peers in it do.
type peerTable map[key.NodePublic]*peer

// peer is what we know of a Peer. It is also WireGuard's endpoint of it: see
// bind.go.
type peer struct {
	key   key.NodePublic
	route atomic.Pointer[route] // never nil; written by the loop

	// heard is the region that the peer was last heard through, or 0 when not
	// since the loop last looked. Written by receivers, reset by the loop.
	heard atomic.Int64

	// ready is whether WireGuard knows the peer. Written by the loop.
	ready atomic.Bool

	// sent tells the loop what has been sent since it last looked. Written by
	// senders, reset by the loop.
	sent atomic.Int32

	// preshared is whether WireGuard has a preshared key for the peer. Written by
	// the loop.
	preshared atomic.Bool

	handshakes handshakes // used by senders, receivers and the loop

	addrs []netip.AddrPort // on the underlay; guarded by addrBook.mu

	// Owned by the loop.
	disco     key.DiscoPublic
	shared    *key.DiscoShared // with disco; nil until needed
	place     place
	named     []netip.AddrPort // endpoints, by the coordinator
	agreement agreement
	*ways
	due  time.Time // of path and search, when slot is not 0
	slot int       // in the schedule; 0: none
}

// ways are what is known of the ways to a peer; nil until there is anything to send
// or heard, which in a large mesh is so of most peers for ever.
type ways struct {
	path      *path.Peer
	endpoints []netip.AddrPort // those that path knows of
	greeting  greeting
	search    search
	side      *sideSocket // that path goes by; nil: an ordinary one
}

// way is what path says of the way to the peer.
func (p *peer) way() path.Route {
	if p.ways == nil { // as of a path that nothing is known of
		return path.Route{Relay: true, MTU: path.BaseMTU}
	}
	return p.path.Route()
}

// Values of peer.sent.
const (
	sentNothing = iota
	sentSmall   // no message larger than path.BaseMTU
	sentLarge
)

// with returns a table of the given peers, with the peer of t where there is
// one, and those of t that are in it no more.
func (t peerTable) with(peers []Peer) (next peerTable, gone []*peer) {
	next = make(peerTable, len(peers))
	for _, p := range peers {
		if p.Key.IsZero() {
			continue
		}
		known := t[p.Key]
		if known == nil {
			known = &peer{key: p.Key}
			known.route.Store(nowhere)
		}
		known.update(p)
		next[p.Key] = known
	}
	for k, p := range t {
		if next[k] == nil {
			gone = append(gone, p)
		}
	}
	return next, gone
}

// update notes what the coordinator says. A peer with another disco key is
// another process, with other sockets: what was found out about paths is void.
func (p *peer) update(to Peer) {
	p.place.home = to.HomeDERP
	if p.disco != to.Disco {
		p.disco, p.shared = to.Disco, nil
		if p.ways != nil {
			p.path, p.endpoints, p.greeting = path.New(), nil, greeting{}
		}
	}
	p.named = to.Endpoints
}

// discoTable has the peers by disco key, which several have when a node has just
// changed its node key, or says that it has another's.
type discoTable map[key.DiscoPublic][]*peer

func (t peerTable) byDisco() discoTable {
	found := make(discoTable, len(t))
	for _, p := range t {
		if !p.disco.IsZero() {
			found[p.disco] = append(found[p.disco], p)
		}
	}
	return found
}

// sharedWith returns what seals messages between the peer and our disco key.
func (p *peer) sharedWith(our key.DiscoPrivate) *key.DiscoShared {
	if p.shared == nil {
		s := our.Shared(p.disco)
		p.shared = &s
	}
	return p.shared
}
