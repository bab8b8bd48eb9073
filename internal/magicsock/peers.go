package magicsock

import (
	"sync/atomic"

	"github.com/meshnet-go/meshnet/key"
)

// Peer is a node that we exchange packets with.
type Peer struct {
	Key      key.NodePublic
	Disco    key.DiscoPublic // zero: none, and its disco messages are ignored
	HomeDERP int             // region where it is found; 0 when not known
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

	// Owned by the loop.
	disco  key.DiscoPublic
	shared *key.DiscoShared // with disco; nil until needed
	place  place
}

// with returns a table of the given peers, with the peer of t where there is
// one. Peers that are not in it any more lose their route.
func (t peerTable) with(peers []Peer) *peerTable {
	next := make(peerTable, len(peers))
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
			p.route.Store(nowhere)
		}
	}
	return &next
}

func (p *peer) update(to Peer) {
	p.place.home = to.HomeDERP
	if p.disco != to.Disco {
		p.disco, p.shared = to.Disco, nil
	}
}

// sharedWith returns what seals messages between the peer and our disco key.
func (p *peer) sharedWith(our key.DiscoPrivate) *key.DiscoShared {
	if p.shared == nil {
		s := our.Shared(p.disco)
		p.shared = &s
	}
	return p.shared
}
