// Package coord is the coordination server that comes with meshnet: it admits
// nodes to a tailnet, gives them names and addresses, and tells each of them
// who its peers are and where they can be reached. Nodes built with meshnet and
// unmodified Tailscale clients join it side by side.
//
// A [Server] is an [http.Handler], for a listener of its own or below the
// program's other handlers. It answers two paths; everything else goes through
// the second, authenticated and encrypted between the keys of coordinator and
// machine (Tailscale's ts2021 protocol):
//
//	GET  /key      the coordinator's public key
//	POST /ts2021   upgrade to a Noise connection, and in it HTTP/2:
//	  POST /machine/register   a node key becomes a member, or logs out
//	  POST /machine/map        a node reports itself; the stream of what changes
//
// Serve it over HTTPS, or pin its [Server.PublicKey] in the nodes: /key is
// where they would learn the key otherwise. The upgrade needs HTTP/1.1, so a
// TLS listener must not negotiate HTTP/2.
//
// Who may join is decided by auth keys ([Server.CreateAuthKey]) or an
// administrator ([Server.Approve]). There is no administration over HTTP.
package coord

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// saveDelay is how long what nodes report may be unsaved. Admissions, and what
// an administrator does, are saved before they are answered.
const saveDelay = time.Second

// Config says what a [Server] is to be. The zero value works, but for relays.
type Config struct {
	// Domain is the MagicDNS suffix: a node named "web" is reached as
	// "web.mesh.internal". Empty means "mesh.internal".
	Domain string
	// DERPMap is where the relays are. Without a relay nodes do not come up;
	// see also [Server.SetDERPMap].
	DERPMap *derpmap.Map
	// Store keeps keys and nodes between runs. Nil means [NewMemoryStore]:
	// after a restart no node is known.
	Store Store
	// Logger gets what the coordinator does. Nil means silent.
	Logger *slog.Logger

	// IPv4 and IPv6 are where nodes get their addresses from, in or equal to
	// 100.64.0.0/10 and fd7a:115c:a1e0::/48, the defaults. Nodes that have
	// addresses keep them when these change.
	IPv4, IPv6 netip.Prefix
	// ExtraRecords are names that MagicDNS answers besides those of nodes.
	ExtraRecords []Record
	// Filter is who may reach what. Nil allows everything: every node may
	// connect to every port of every other. Empty but not nil allows nothing.
	Filter []Rule
	// KeyExpiry is how long a node may stay before it must log in anew. Zero
	// is for ever. Tagged nodes do not expire.
	KeyExpiry time.Duration
	// URL is where people reach the server, such as
	// "https://coord.example.com": the beginning of the login URLs of nodes
	// that come without an auth key. Empty means where the node reached it.
	URL string
}

// Record is a name of the tailnet that is not a node's.
type Record struct {
	Name string // fully qualified
	Addr netip.Addr
}

// Server is a coordination server. Its methods may be called concurrently.
type Server struct {
	domain string
	url    string
	rules  []tailcfg.FilterRule
	dns    *tailcfg.DNSConfig
	log    *slog.Logger
	key    key.MachinePrivate
	public *http.ServeMux

	noise *noiseServer
	conns conns
	ctx   context.Context // done when the server is closed
	close func()
	work  work // requests, connections and goroutines; Close waits for them

	mu      sync.Mutex
	state   *state                           // guarded by mu
	streams map[tailcfg.NodeID]*streamHandle // guarded by mu
	derpMap *derpmap.Map                     // guarded by mu; what it points to does not change
	// current is what streams tell; stored under mu whenever state or derpMap
	// have changed, read without it.
	current atomic.Pointer[snapshot]
	changed chan struct{} // holds one: the state has changed, or its deadline

	saving sync.Mutex // held while the store is written; taken before mu
	store  Store      // guarded by saving
	saved  uint64     // revision of state that the store has; guarded by saving
}

// New returns a server that knows what its store knows. It has to be closed.
func New(c Config) (*Server, error) {
	s := &Server{
		domain:  strings.ToLower(strings.Trim(c.Domain, ".")),
		url:     strings.TrimSuffix(c.URL, "/"),
		log:     c.Logger,
		store:   c.Store,
		streams: make(map[tailcfg.NodeID]*streamHandle),
		changed: make(chan struct{}, 1),
	}
	if s.domain == "" {
		s.domain = "mesh.internal"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.store == nil {
		s.store = NewMemoryStore()
	}
	var err error
	if err = checkDomain(s.domain); err != nil {
		return nil, err
	}
	if s.rules, err = wireRules(c.Filter); err != nil {
		return nil, err
	}
	if s.dns, err = wireDNS(s.domain, c.ExtraRecords); err != nil {
		return nil, err
	}
	if s.derpMap, err = cloneDERPMap(c.DERPMap); err != nil {
		return nil, err
	}
	alloc, err := newAllocator(c.IPv4, c.IPv6)
	if err != nil {
		return nil, err
	}
	s.state = newState(alloc, c.KeyExpiry)
	if err := s.load(time.Now().UTC()); err != nil {
		return nil, err
	}
	s.publish()
	s.start()
	return s, nil
}

func (s *Server) start() {
	s.ctx, s.close = context.WithCancel(context.Background())
	s.noise = s.newNoiseServer()
	s.public = http.NewServeMux()
	s.public.HandleFunc("GET /key", s.serveKey)
	s.public.HandleFunc("POST /ts2021", s.serveUpgrade)
	s.work.run(s.noise.serve)
	s.work.run(s.keepTime)
	s.work.run(s.keepSaved)
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.work.begin() {
		http.Error(w, "the coordinator is closed", http.StatusServiceUnavailable)
		return
	}
	defer s.work.end()
	s.public.ServeHTTP(w, r)
}

// PublicKey returns the key by which nodes know this coordinator. It is the
// same for as long as the store is.
func (s *Server) PublicKey() key.MachinePublic { return s.key.Public() }

// Close ends all connections of nodes, waits until everything has come to an
// end, and saves. It returns the error of the latter.
func (s *Server) Close() error {
	s.close()
	s.work.wait()
	return s.save()
}

// SetDERPMap tells all nodes where the relays are from now on.
func (s *Server) SetDERPMap(m *derpmap.Map) error {
	m, err := cloneDERPMap(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derpMap = m
	s.publish()
	return nil
}

// decide lets f change the state at the present moment and makes known what it
// changed. f must return at once and keep nothing but nodes.
func (s *Server) decide(f func(now time.Time, st *state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, now := s.state.revision, time.Now().UTC()
	s.state.advance(now)
	f(now, s.state)
	if s.state.revision != before {
		s.publish()
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// publish makes the present state the one that streams tell. The caller holds
// mu.
func (s *Server) publish() {
	old := s.current.Load()
	s.current.Store(&snapshot{
		domain: s.domain,
		nodes:  s.state.sorted(),
		derp:   s.derpMap,
		dns:    s.dns,
		rules:  s.rules,
		stale:  make(chan struct{}),
	})
	if old != nil {
		close(old.stale)
	}
}

// keepTime lets the state do what becomes due, until the server is closed.
func (s *Server) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
			s.decide(func(time.Time, *state) {})
		case <-s.changed:
			s.mu.Lock()
			next := s.state.deadline()
			s.mu.Unlock()
			if timer.Stop(); !next.IsZero() {
				timer.Reset(time.Until(next))
			}
		}
	}
}

// keepSaved saves what has changed, a little after it did, until the server is
// closed.
func (s *Server) keepSaved() {
	for {
		news := s.current.Load().stale // before we save, so that no change is missed
		if err := s.save(); err != nil {
			s.log.Warn("the coordinator could not save its state; it tries again at the next change", "err", err)
		}
		select {
		case <-s.ctx.Done():
			return
		case <-news:
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(saveDelay):
		}
	}
}

func checkDomain(domain string) error {
	for l := range strings.SplitSeq(domain, ".") {
		if l != label(l) {
			return fmt.Errorf("coord: %q is not a DNS name", domain)
		}
	}
	return nil
}
