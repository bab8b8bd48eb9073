// Package magicsock is the [conn.Bind] of a mesh node: WireGuard sends a packet
// to a peer, and magicsock knows where the peer is.
//
//	WireGuard ── bind ── route of the peer ── relay.Pool        sending
//	relay.Pool ── bind ── WireGuard, if from a peer             receiving
//	                └──── loop, if disco, or too early for WireGuard
//
// One goroutine, the loop, decides: it answers disco messages, chooses the home
// region, and stores in each peer the route that sending then only loads.
// Packets travel through relays; direct paths are still to come.
package magicsock

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/key"
)

// Config is what a Conn is made of.
type Config struct {
	Node  key.NodePrivate  // our identity at relays
	Disco key.DiscoPrivate // made for this process
	// DialContext connects to relays; nil is the host's network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	RootCAs     *x509.CertPool // for relays; nil is the host's set
	Logger      *slog.Logger   // nil is silent
}

// Conn exchanges packets with peers. Its methods may be called from any
// goroutine. Those that change something have done it when they return, and
// do nothing on a closed Conn.
type Conn struct {
	disco       key.DiscoPrivate
	discoPublic key.DiscoPublic
	log         *slog.Logger
	relays      relays

	peers   atomic.Pointer[peerTable] // written by the loop
	local   atomic.Pointer[Local]     // written by the loop
	changed chan struct{}             // holds one

	// To the loop. What receivers have for it is dropped when it is busy.
	calls     chan func()
	messages  chan discoPacket
	hearings  chan hearing
	strangers chan relay.Packet // initiations that are early

	released chan relay.Packet // of those, from the loop back to receivers

	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the loop has ended
	shut    sync.Once

	// Owned by the loop.
	derpMap    *derpmap.Map
	regions    map[int]bool // of derpMap, those with a relay
	home       home
	homeTimer  *time.Timer // when to think of home again
	anyFresh   bool        // of peers' places; then freshTimer runs
	freshTimer *time.Timer
	early      early
}

// relays is what a Conn needs of a [relay.Pool].
type relays interface {
	SetKey(key.NodePrivate)
	SetMap(*derpmap.Map)
	SetHome(region int)
	// Send copies packet, and loses it rather than wait.
	Send(region int, dst key.NodePublic, packet []byte) error
	Recv() <-chan relay.Packet
	Connected(region int) bool
	Changed() <-chan struct{} // after a change of Connected
	Close() error
}

// New returns a Conn that knows no peers and no relays yet.
func New(cfg Config) *Conn {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return newConn(cfg, relay.NewPool(relay.Config{
		Key:         cfg.Node,
		DialContext: cfg.DialContext,
		RootCAs:     cfg.RootCAs,
		Logger:      cfg.Logger,
	}))
}

func newConn(cfg Config, relays relays) *Conn {
	c := &Conn{
		disco:       cfg.Disco,
		discoPublic: cfg.Disco.Public(),
		log:         cfg.Logger,
		relays:      relays,
		changed:     make(chan struct{}, 1),
		calls:       make(chan func()),
		messages:    make(chan discoPacket, 64),
		hearings:    make(chan hearing, 64),
		strangers:   make(chan relay.Packet, maxEarly),
		released:    make(chan relay.Packet, maxEarly),
		closing:     make(chan struct{}),
		stopped:     make(chan struct{}),
		homeTimer:   stoppedTimer(),
		freshTimer:  stoppedTimer(),
	}
	c.peers.Store(&peerTable{})
	c.local.Store(&Local{})
	go c.loop()
	return c
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// Bind returns what WireGuard sends and receives through. Closing it does not
// close the Conn.
func (c *Conn) Bind() conn.Bind { return &bind{conn: c} }

// SetNodeKey changes our identity at relays.
func (c *Conn) SetNodeKey(k key.NodePrivate) { c.relays.SetKey(k) }

// SetDERPMap says which relays there are.
func (c *Conn) SetDERPMap(m *derpmap.Map) {
	c.do(func() {
		c.derpMap, c.regions = m, make(map[int]bool)
		for _, id := range regions(m) {
			c.regions[id] = true
		}
		c.relays.SetMap(m)
		c.decide()
	})
}

// SetPeers makes peers all that there are. Endpoints of those that stay remain
// good. Of several peers with one key the last counts. New ones reach WireGuard
// after [Conn.PeersReady].
func (c *Conn) SetPeers(peers []Peer) {
	c.do(func() {
		c.peers.Store(c.peers.Load().with(peers))
		c.routeAll()
	})
}

// PeersReady says that WireGuard now knows the peers of the last SetPeers, too,
// and lets it have the handshakes that they began with us. Those that came
// earlier, by a few seconds at most, have been kept for it.
func (c *Conn) PeersReady() {
	c.do(func() {
		for _, p := range *c.peers.Load() {
			p.ready.Store(true)
		}
		c.releaseEarly()
	})
}

// Local is what a Conn has found out about its own node.
type Local struct {
	// HomeDERP is the region where peers find us, or 0 when no region can be
	// that.
	HomeDERP int
	// Connected tells whether we are connected to a relay there.
	Connected bool
}

// Local returns what is known now.
func (c *Conn) Local() Local { return *c.local.Load() }

// Changed delivers a value after [Conn.Local] changed, one for any number of
// changes. It is for one reader.
func (c *Conn) Changed() <-chan struct{} { return c.changed }

// PeerInfo is what a Conn knows of a peer.
type PeerInfo struct {
	// Relay is the region through which packets to the peer go, or 0 when
	// there is none.
	Relay int
}

// PeerInfo returns what is known now of the peer with a key, and whether there
// is such a peer.
func (c *Conn) PeerInfo(k key.NodePublic) (PeerInfo, bool) {
	p, ok := (*c.peers.Load())[k]
	if !ok {
		return PeerInfo{}, false
	}
	return PeerInfo{Relay: p.route.Load().region}, true
}

// Close ends all connections and waits for its goroutines. The Bind's
// ReceiveFuncs return [net.ErrClosed]. Closing twice is allowed.
func (c *Conn) Close() error {
	c.shut.Do(func() { close(c.closing) })
	<-c.stopped
	return c.relays.Close()
}
