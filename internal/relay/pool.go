// Package relay keeps a node connected to relays: to that of its home region
// always, so that others can reach it, and to those of other regions while it
// sends there.
//
// A [Pool] has a link for each region in use, and a link has two goroutines:
//
//	Send ── queue ── link.run ── derp.Client ──► relay      dials, writes, retries
//	Recv ◄─ channel ─ link.receive ─ derp.Client ◄── relay  while connected
//
// A link ends when its region is not our home and nothing was sent there for a
// minute, or when the map has the region no more. Until then it connects again
// whenever it has to, and keeps what is to be sent meanwhile: a handshake
// message of WireGuard that gets lost costs five seconds.
package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// received is how many packets wait for the reader of [Pool.Recv]. When there
// are more, the relay is not read from, and then drops what it cannot deliver.
const received = 128

// Config is what a [Pool] is made from.
type Config struct {
	// Key is who we are; zero until SetKey says.
	Key key.NodePrivate
	// DialContext makes the connections; nil is that of a zero [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs are who may sign relays' certificates; nil is the host's choice.
	RootCAs *x509.CertPool
	// Logger may be nil, which is silent.
	Logger *slog.Logger
}

// Pool is a node's connections to relays. Its methods may be called from any
// goroutine.
type Pool struct {
	cfg     Config // without the key, which changes
	ctx     context.Context
	cancel  context.CancelFunc
	start   time.Time
	links   sync.WaitGroup
	buffers buffers
	packets chan Packet
	changed chan struct{}

	mu     sync.Mutex // guards what is below, and in links what they say it guards
	closed bool
	key    key.NodePrivate
	relays *derpmap.Map
	home   int
	addrs  []netip.Addr // of the host
	byID   map[int]*link
}

// NewPool returns a Pool that is connected to nothing until it has a key, a
// map and a home or something to send. Close must be called.
func NewPool(cfg Config) *Pool {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		cfg:     cfg,
		ctx:     ctx,
		cancel:  cancel,
		start:   time.Now(),
		packets: make(chan Packet, received),
		changed: make(chan struct{}, 1),
		key:     cfg.Key,
		byID:    make(map[int]*link),
	}
	p.cfg.Key = key.NodePrivate{}
	return p
}

// SetKey changes who we are. All regions are connected to anew; what waited to
// be sent under the old key is dropped.
func (p *Pool) SetKey(k key.NodePrivate) { p.set(func() { p.key = k }) }

// SetMap changes where the relays are. Regions that changed are connected to
// anew. The map must not be modified afterwards.
func (p *Pool) SetMap(m *derpmap.Map) { p.set(func() { p.relays = m }) }

// SetHome changes the region where others can reach us; 0 is none. The old one
// remains connected until it is idle.
func (p *Pool) SetHome(region int) { p.set(func() { p.home = region }) }

// Check finds out which connections still stand, as the network may have
// changed: one whose relay says nothing for three seconds is made anew.
func (p *Pool) Check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.byID {
		l.doubted = true
		l.poke()
	}
}

// SetAddrs says which addresses the host has. A connection from one that it had,
// and has no more, is made anew at once.
func (p *Pool) SetAddrs(addrs []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.byID {
		if l.connected && slices.Contains(p.addrs, l.local) && !slices.Contains(addrs, l.local) {
			l.moved = true
			l.poke()
		}
	}
	p.addrs = slices.Clone(addrs)
}

func (p *Pool) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	if p.closed {
		return
	}
	for id, l := range p.byID {
		p.refit(id, l)
	}
	if p.byID[p.home] == nil {
		p.open(p.home)
	}
}

// refit makes a link fit key, map and home. p.mu is held.
func (p *Pool) refit(id int, l *link) {
	region := p.region(id)
	if l.key == p.key && sameNodes(l.region, region) {
		l.setHome(id == p.home)
		return
	}
	l.stop()
	delete(p.byID, id)
	p.notify()
	next := p.open(id)
	if next != nil && next.key == l.key {
		next.queue = l.queue
		l.queue = queue{}
	}
}

// open starts a link to a region and returns it, or nil when we have no key or
// the map no relay there. p.mu is held.
func (p *Pool) open(id int) *link {
	region := p.region(id)
	if p.closed || p.key.IsZero() || region == nil {
		return nil
	}
	ctx, stop := context.WithCancel(p.ctx)
	l := &link{
		id:     id,
		region: region,
		key:    p.key,
		stop:   stop,
		wake:   make(chan struct{}, 1),
		home:   id == p.home,
		used:   time.Now(),
	}
	p.byID[id] = l
	p.links.Go(func() {
		defer stop()
		p.run(ctx, l)
	})
	return l
}

// region returns a region of the map that has a relay, or nil. p.mu is held.
func (p *Pool) region(id int) *derpmap.Region {
	if p.relays == nil {
		return nil
	}
	r := p.relays.Regions[id]
	if r == nil || !slices.ContainsFunc(r.Nodes, func(n *derpmap.Node) bool { return n != nil && !n.STUNOnly }) {
		return nil
	}
	return r
}

// sameNodes reports whether two regions, which may be nil, have the same
// relays in the same order.
func sameNodes(a, b *derpmap.Region) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Nodes, b.Nodes, func(a, b *derpmap.Node) bool {
		return a == b || a != nil && b != nil && *a == *b
	})
}

var (
	errNoKey    = errors.New("relay: no node key yet")
	errNoRegion = errors.New("relay: the map has no relay in the region")
)

// Send queues a copy of packet for the holder of dst, at a region, and returns
// at once. It connects to the region when need be. An error says that the
// packet has no way at all. Otherwise it may still get lost: when the queue is
// full the oldest packet goes, and packets wait five seconds at most for a
// connection.
func (p *Pool) Send(region int, dst key.NodePublic, packet []byte) error {
	if len(packet) > derp.MaxPacketSize {
		return fmt.Errorf("relay: packet of %d bytes is too large", len(packet))
	}
	buf := p.buffers.get(packet)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byID[region]
	if l == nil {
		l = p.open(region)
	}
	if l == nil {
		buf.release()
		return p.noLink()
	}
	l.used = now
	l.queue.push(outgoing{dst: dst, queued: now, buf: buf})
	l.poke()
	return nil
}

// noLink says why there can be none. p.mu is held.
func (p *Pool) noLink() error {
	switch {
	case p.closed:
		return net.ErrClosed
	case p.key.IsZero():
		return errNoKey
	default:
		return errNoRegion
	}
}

// ProbeLatency returns how long a relay of a region takes for a small request
// over HTTPS, about a round trip, for when no STUN server says how far away it
// is. It makes a connection of its own and waits for it as long as ctx lets it,
// ten seconds at most, or until the Pool is closed.
func (p *Pool) ProbeLatency(ctx context.Context, region int) (time.Duration, error) {
	p.mu.Lock()
	r, closed := p.region(region), p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case r == nil:
		return 0, errNoRegion
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(p.ctx, func() { cancel(net.ErrClosed) })
	defer stop()
	return derp.Latency(ctx, derp.DialConfig{Region: r, DialContext: p.cfg.DialContext, RootCAs: p.cfg.RootCAs})
}

// Recv returns the channel of packets that came from any relay. It is closed
// when the Pool is.
func (p *Pool) Recv() <-chan Packet { return p.packets }

// Changed returns a channel that has an element after [Pool.Status] changed.
func (p *Pool) Changed() <-chan struct{} { return p.changed }

func (p *Pool) notify() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Connected reports whether there is a connection to a relay of the region.
func (p *Pool) Connected(region int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byID[region]
	return l != nil && l.connected
}

// Heard returns when a relay of the region last sent anything; the zero time
// while the region is not in use, or before.
func (p *Pool) Heard(region int) time.Time {
	p.mu.Lock()
	l := p.byID[region]
	p.mu.Unlock()
	if l == nil || l.heard.Load() == 0 {
		return time.Time{}
	}
	return p.start.Add(time.Duration(l.heard.Load()))
}

// sinceStart returns the time since the Pool was made, which is positive.
func (p *Pool) sinceStart() time.Duration { return max(1, time.Since(p.start)) }

// Status is how it stands with a region in use.
type Status struct {
	Region    int
	Home      bool
	Connected bool
	// Err is what went wrong last; nil while connected.
	Err error
	// Absent counts how often the relay said that a peer is not, or no longer,
	// connected to it.
	Absent int
}

// Status returns the regions in use, in order.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Status
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		l := p.byID[id]
		all = append(all, Status{Region: id, Home: l.home, Connected: l.connected, Err: l.err, Absent: l.absent})
	}
	return all
}

// Close ends all connections and waits until nothing runs any more. Packets
// that wait to be sent are lost.
func (p *Pool) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	clear(p.byID)
	p.mu.Unlock()
	p.cancel()
	p.links.Wait()
	if first {
		close(p.packets)
	}
	return nil
}
