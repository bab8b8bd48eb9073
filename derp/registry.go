package derp

import (
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/key"
)

const maxConnsPerKey = 8 // more are connections that died unnoticed

// registry knows who is connected, here and at the other relays of the region.
type registry struct {
	maxConns int
	// generation changes when a key may be reached by another link than before.
	generation atomic.Uint64
	serving    sync.WaitGroup // one for each of conns

	mu       sync.RWMutex // guards what is below
	closed   bool
	conns    map[net.Conn]struct{}         // all, those that log in too
	clients  map[key.NodePublic][]*session // never empty; oldest first; the last is live
	remote   map[key.NodePublic][]*link    // the relays at which a key is; never empty; oldest first
	watchers map[*session]struct{}         // relays that want to hear who comes and goes
	links    map[*link]struct{}            // to relays, of which we hear that
}

func newRegistry(maxConns int) *registry {
	return &registry{
		maxConns: maxConns,
		conns:    make(map[net.Conn]struct{}),
		clients:  make(map[key.NodePublic][]*session),
		remote:   make(map[key.NodePublic][]*link),
		watchers: make(map[*session]struct{}),
		links:    make(map[*link]struct{}),
	}
}

// addConn notes a new connection. It reports false when there may be no more.
func (r *registry) addConn(nc net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.conns) >= r.maxConns {
		return false
	}
	r.conns[nc] = struct{}{}
	r.serving.Add(1)
	return true
}

// removeConn is called when nothing serves nc any more.
func (r *registry) removeConn(nc net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, nc)
	r.serving.Done()
}

// close lets no more connections in.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// endConns closes all connections.
func (r *registry) endConns() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for nc := range r.conns {
		closeNow(nc)
	}
}

// sessions returns all clients' connections.
func (r *registry) sessions() (all []*session) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, list := range r.clients {
		all = append(all, list...)
	}
	return all
}

// register makes c the connection that gets the packets for its key, and
// returns the one that did so far, or nil, and those who must hear of it.
func (r *registry) register(c *session) (before *session, watchers []*session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	conns := r.clients[c.key]
	if n := len(conns); n > 0 {
		before = conns[n-1]
		before.live.Store(false)
		if n >= maxConnsPerKey {
			closeNow(conns[0].nc) // its reader then unregisters it
		}
	}
	c.live.Store(true)
	r.clients[c.key] = append(conns, c)
	if len(r.remote[c.key]) > 0 {
		r.generation.Add(1) // whoever goes by the link shall come here
	}
	return before, r.watching(present(c))
}

// watching notes a change for all watchers, and returns them.
func (r *registry) watching(changes ...change) (watchers []*session) {
	for w := range r.watchers {
		w.news.add(changes...)
		watchers = append(watchers, w)
	}
	return watchers
}

// departure is what follows from the end of a connection.
type departure struct {
	heir     *session   // gets the packets from now on, or nil
	gone     bool       // the key is connected to no relay of the region
	watchers []*session // must hear of it
}

// unregister takes c out.
func (r *registry) unregister(c *session) (d departure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, c)
	wasLive := c.live.Swap(false)
	conns := slices.DeleteFunc(r.clients[c.key], func(o *session) bool { return o == c })
	if len(conns) > 0 {
		r.clients[c.key] = conns
		if wasLive {
			d.heir = conns[len(conns)-1]
			d.heir.live.Store(true)
		}
		return d
	}
	delete(r.clients, c.key)
	d.gone = len(r.remote[c.key]) == 0
	d.watchers = r.watching(change{key: c.key})
	return d
}

// lookup returns who gets the packets for k, or nil, and the generation in
// which that was so. Those of other relays count only if remote is true.
func (r *registry) lookup(k key.NodePublic, remote bool) (*destination, uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	generation := r.generation.Load()
	if conns := r.clients[k]; len(conns) > 0 {
		return &conns[len(conns)-1].destination, generation
	}
	if links := r.remote[k]; remote && len(links) > 0 {
		return &links[0].destination, generation
	}
	return nil, generation
}

// ofKey returns the connections of a key.
func (r *registry) ofKey(k key.NodePublic) []*session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.clients[k])
}

// watch makes w hear who is here, and from now on who comes and goes.
func (r *registry) watch(w *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, already := r.watchers[w]; already {
		return
	}
	for _, conns := range r.clients {
		w.news.add(present(conns[len(conns)-1]))
	}
	r.watchers[w] = struct{}{}
}

// at notes that k is connected to the relay at the other end of l.
func (r *registry) at(k key.NodePublic, l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.remote[k], l) {
		return
	}
	r.remote[k] = append(r.remote[k], l)
	r.generation.Add(1)
}

// notAt is the opposite. It reports whether k is at no relay of the region any
// more.
func (r *registry) notAt(k key.NodePublic, l *link) (gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.remote[k])
	links := slices.DeleteFunc(r.remote[k], func(o *link) bool { return o == l })
	if len(links) == before {
		return false
	}
	r.generation.Add(1)
	if len(links) > 0 {
		r.remote[k] = links
		return false
	}
	delete(r.remote, k)
	return len(r.clients[k]) == 0
}

// addLink notes that another relay is connected.
func (r *registry) addLink(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[l] = struct{}{}
	l.live.Store(true)
}

// removeLink takes l out, and returns the keys that are at no relay of the
// region any more.
func (r *registry) removeLink(l *link) (gone []key.NodePublic) {
	r.mu.Lock()
	l.live.Store(false)
	delete(r.links, l)
	r.mu.Unlock()
	for k := range l.peers {
		if r.notAt(k, l) {
			gone = append(gone, k)
		}
	}
	return gone
}

// linked returns all links.
func (r *registry) linked() []*link {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Keys(r.links))
}

// stats returns the part of the figures that the registry knows.
func (r *registry) stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Stats{
		Connections: len(r.conns),
		Clients:     len(r.clients),
		Remote:      len(r.remote),
		Links:       len(r.links),
	}
}
