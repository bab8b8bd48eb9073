// Package magicsock is the [conn.Bind] of a mesh node: WireGuard sends a packet
// to a peer, and magicsock knows where the peer is.
//
//	WireGuard ── bind ── route of the peer ─┬─ udp.Conn         sending
//	                                        └─ relay.Pool
//	udp.Conn ───┬── bind ── WireGuard, if from a peer           receiving
//	relay.Pool ─┘    └───── loop, if disco, or too early for WireGuard
//
// One goroutine, the loop, decides: it drives each peer's [path.Peer], answers
// disco messages, chooses the home region, and stores in each peer the route
// that sending then only loads.
package magicsock

import (
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// Config is what a Conn is made of.
type Config struct {
	Node  key.NodePrivate  // our identity at relays
	Disco key.DiscoPrivate // made for this process
	// ListenPacket opens the UDP sockets of direct paths; network is "udp4" or
	// "udp6". Nil is none: then everything goes through relays.
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)
	Port         uint16 // of these sockets; 0 is any
	// NoPortProbing leaves peers on the relay that could only be found by
	// sending to many ports.
	NoPortProbing bool
	// PresharedKey gives WireGuard a preshared key for a peer, or the zero key
	// for none, from now on; nil agrees on none. It must not call the Conn.
	PresharedKey func(peer key.NodePublic, k psk.Key)
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
	sockets     sockets
	moreSockets listenFunc                    // for port probing; nil: none
	preshare    func(key.NodePublic, psk.Key) // nil: none

	peers   atomic.Pointer[peerTable]  // written by the loop
	discos  atomic.Pointer[discoTable] // the same peers; written by the loop
	addrs   addrBook                   // written by the loop
	local   atomic.Pointer[Local]      // written by the loop
	changed chan struct{}              // holds one

	inbox inbox // of the loop

	background sync.WaitGroup // goroutines that ask for names and latencies, and that read side sockets

	released chan relay.Packet // that were held, from the loop back to receivers
	sideways chan *arrivals    // from side sockets

	ctx     context.Context // done when the Conn is closed
	close   func()
	stopped chan struct{} // closed when the loop has ended

	// Owned by the loop.
	node      key.NodePublic
	underlay  underlay
	schedule  schedule
	lastRoute *route // that a peer has got; never nil
	callers   callers
	fresh     fresh
	early     early
	held      held
	agreeing  agreeing
	asked     asked
	searching *peer                  // that port probing goes on with; nil: none
	mtus      map[key.NodePublic]int // as in Local; it does not change
}

// relays is what a Conn needs of a [relay.Pool].
type relays interface {
	SetKey(key.NodePrivate)
	SetMap(*derpmap.Map)
	SetAddrs(ofHost []netip.Addr)
	SetHome(region int)
	// Send copies packet, and loses it rather than wait.
	Send(region int, dst key.NodePublic, packet []byte) error
	Recv() <-chan relay.Packet
	// ProbeLatency measures how far a region is, over HTTPS.
	ProbeLatency(ctx context.Context, region int) (time.Duration, error)
	Connected(region int) bool
	Heard(region int) time.Time // when a relay last sent anything; zero: not
	Check()                     // makes dead connections anew
	Changed() <-chan struct{}   // after a change of Connected
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
		preshare:    cfg.PresharedKey,
		relays:      relays,
		sockets:     openSockets(cfg.ListenPacket, cfg.Port, cfg.Logger),
		changed:     make(chan struct{}, 1),
		inbox:       newInbox(),
		released:    make(chan relay.Packet, maxEarly),
		sideways:    make(chan *arrivals),
		stopped:     make(chan struct{}),

		node:      cfg.Node.Public(),
		underlay:  newUnderlay(),
		schedule:  schedule{alarm: newAlarm()},
		lastRoute: nowhere,
		callers:   callers{alarm: newAlarm()},
		fresh:     fresh{alarm: newAlarm()},
		held:      held{alarm: newAlarm()},
		agreeing:  agreeing{alarm: newAlarm()},
	}
	c.ctx, c.close = context.WithCancel(context.Background())
	if !cfg.NoPortProbing {
		c.moreSockets = cfg.ListenPacket
	}
	c.peers.Store(&peerTable{})
	c.discos.Store(&discoTable{})
	c.local.Store(&Local{NetInfo: new(tailcfg.NetInfo)})
	go c.loop()
	return c
}

// Bind returns what WireGuard sends and receives through. Closing it does not
// close the Conn.
func (c *Conn) Bind() conn.Bind { return &bind{conn: c} }

// SetNodeKey changes our identity at relays, and in our pings. Who knows us by the
// new key takes packets from our address only when we have pinged it from there:
// until then relays have them.
func (c *Conn) SetNodeKey(k key.NodePrivate) {
	c.relays.SetKey(k)
	c.do(func() {
		c.node = k.Public()
		for _, p := range *c.peers.Load() {
			c.endAgreement(p)
			p.handshakes.renew()
			if p.ways != nil {
				c.happened(p, (*path.Peer).NetworkChanged)
			}
		}
	})
}

// SetDERPMap says which relays there are.
func (c *Conn) SetDERPMap(m *derpmap.Map) {
	c.do(func() {
		c.underlay.derpMap, c.underlay.regions = m, make(map[int]bool)
		for _, id := range regions(m) {
			c.underlay.regions[id] = true
		}
		c.relays.SetMap(m)
		c.underlay.check.SetMap(time.Now(), m)
		c.relaysChanged()
	})
}

// SetPeers makes peers all that there are. Endpoints of those that stay remain
// good. Of several peers with one key the last counts. New ones reach WireGuard
// after [Conn.PeersReady].
func (c *Conn) SetPeers(peers []Peer) {
	c.do(func() {
		c.endRestarted(peers)
		table, gone := c.peers.Load().with(peers)
		discos := table.byDisco()
		c.peers.Store(&table)
		c.discos.Store(&discos)
		for _, p := range gone {
			c.forget(p)
		}
		for _, p := range table {
			c.tellEndpoints(p)
			c.routeTo(p)
		}
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
	// Endpoints are where peers may find us on the underlay.
	Endpoints []Endpoint
	// MTU has the peers to which WireGuard messages may be larger than
	// path.BaseMTU, and the size in bytes of the largest. It must not be
	// modified.
	MTU map[key.NodePublic]int
	// BehindNAT is whether the world sees another IPv4 address than ours.
	BehindNAT bool
	// NetInfo is what the coordinator wants to know of our network. It must not
	// be modified.
	NetInfo *tailcfg.NetInfo
}

func (l Local) equal(m Local) bool {
	return l.HomeDERP == m.HomeDERP && l.Connected == m.Connected && l.BehindNAT == m.BehindNAT &&
		l.NetInfo == m.NetInfo && slices.Equal(l.Endpoints, m.Endpoints) && maps.Equal(l.MTU, m.MTU)
}

// Local returns what is known now.
func (c *Conn) Local() Local { return *c.local.Load() }

// Changed delivers a value after [Conn.Local] changed, one for any number of
// changes. It is for one reader.
func (c *Conn) Changed() <-chan struct{} { return c.changed }

// PeerInfo is what a Conn knows of a peer.
type PeerInfo struct {
	// Direct is the peer's address on the underlay to which packets go;
	// invalid when they go through a relay alone.
	Direct netip.AddrPort
	// Relay is the region through which packets to the peer go, or 0 when
	// none has to.
	Relay int
	// MTU is the size in bytes of the largest WireGuard message that Direct
	// carries.
	MTU int
	// PresharedKey is whether handshakes with the peer use one.
	PresharedKey bool
}

// PeerInfo returns what is known now of the peer with a key, and whether there
// is such a peer.
func (c *Conn) PeerInfo(k key.NodePublic) (PeerInfo, bool) {
	p, ok := (*c.peers.Load())[k]
	if !ok {
		return PeerInfo{}, false
	}
	r := p.route.Load()
	return PeerInfo{Direct: r.direct, Relay: r.region, MTU: r.mtu, PresharedKey: p.preshared.Load()}, true
}

// Close ends all connections and waits for its goroutines. The Bind's
// ReceiveFuncs return [net.ErrClosed]. Closing twice is allowed.
func (c *Conn) Close() error {
	c.close()
	<-c.stopped
	c.background.Wait()
	c.sockets.close()
	return c.relays.Close()
}
