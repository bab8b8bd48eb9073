// Package coord is the coordination server that comes with meshnet: it admits
// nodes to a tailnet, gives them names and addresses, and tells each of them
// who its peers are and where they can be reached. Nodes built with meshnet and
// unmodified Tailscale clients join it side by side.
//
// A [Server] is an [http.Handler], for a listener of its own or below the
// program's other handlers. Nodes ask for two paths; everything else goes
// through the second, authenticated and encrypted between the keys of
// coordinator and machine (Tailscale's ts2021 protocol). People open the others
// in a browser:
//
//	GET  /key      the coordinator's public key
//	POST /ts2021   upgrade to a Noise connection, and in it HTTP/2 (browsers: GET, a WebSocket):
//	  POST /machine/register   a node key becomes a member, or logs out
//	  POST /machine/map        a node reports itself; the stream of what changes
//	  HEAD /machine/pong       a router gives a sign of life
//	  POST /machine/path       a node tells how it reached another
//	  POST /machine/certificate  a node's TLS key is certified
//	  POST /machine/set-dns    a node's ACME challenge is published
//	/login/{id}    an administrator decides on a node that came without a key
//	/admin/        the tailnet as it is, for administrators
//
// Serve it over HTTPS, or pin its [Server.PublicKey] in the nodes: /key is
// where they would learn the key otherwise. The upgrade needs HTTP/1.1, so a
// TLS listener must not negotiate HTTP/2.
//
// Who may join is decided by auth keys ([Server.CreateAuthKey]) or an
// administrator: on the pages, or with [Server.Approve]. Who may reach whom is
// the policy's ([Server.SetPolicy]).
//
// All that a server knows is in its [Store]: several servers that share one
// serve one tailnet. Package boltstore keeps it in a file.
package coord

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// Config says what a [Server] is to be. The zero value works, but for relays.
type Config struct {
	// Domain is the MagicDNS suffix: a node named "web" is reached as
	// "web.mesh.internal". Empty means "mesh.internal".
	Domain string
	// DERPMap is where the relays are. Without a relay nodes do not come up;
	// see also [Server.SetDERPMap].
	DERPMap *derpmap.Map
	// Store keeps keys and nodes between runs, and is where the coordinators of
	// a tailnet meet when there are several. Package boltstore has one in a file.
	// Nil means [NewMemoryStore]: after a restart no node is known.
	Store Store
	// Logger gets what the coordinator does. Nil means silent.
	Logger *slog.Logger

	// IPv4 and IPv6 are where nodes get their addresses from, in or equal to
	// 100.64.0.0/10 and fd7a:115c:a1e0::/48, the defaults. Nodes that have
	// addresses keep them when these change.
	IPv4, IPv6 netip.Prefix
	// DNS is what is resolved besides the names of nodes, while nothing was set
	// by [Server.SetDNS].
	DNS DNS
	// Policy is who may reach whom while none was set by [Server.SetPolicy],
	// where its form is described. Empty allows everything: every node may
	// connect to every port of every other.
	Policy []byte
	// KeyExpiry is how long a node may stay before it must log in anew. Zero
	// is for ever. Tagged nodes do not expire.
	KeyExpiry time.Duration
	// URL is where people reach the server, such as
	// "https://coord.example.com": the beginning of the login URLs of nodes
	// that come without an auth key. Empty means where the node reached it.
	URL string
	// PublishTXT puts a TXT record into the public DNS, and returns when it can be
	// seen there; it is called for one that was published before, too. With it
	// nodes, and Tailscale's clients, get certificates from public authorities such
	// as Let's Encrypt for their names, if Domain is a public domain: these are the
	// challenges of ACME (RFC 8555, section 8.4), below names such as
	// "_acme-challenge.web.mesh.example.com". Nil means that certificates are those
	// of the mesh's own authority: see [Server.AuthorityPEM].
	PublishTXT func(ctx context.Context, name, value string) error
	// Authenticator signs administrators in to the pages. Nil means that they
	// have the secret of [Server.AdminSecret].
	Authenticator Authenticator
}

// Server is a coordination server. Its methods may be called concurrently.
//
// Methods that change something return when the change is in the store. Their
// errors are for the person who asked, that of their context, the store's, or
// [ErrClosed].
type Server struct {
	domain string
	url    string
	log    *slog.Logger
	key    key.MachinePrivate
	public *http.ServeMux

	publishTXT func(ctx context.Context, name, value string) error

	noise *noiseServer
	conns conns
	// handshakes holds one for each that is going on, and has room for as many
	// as there may be.
	handshakes chan struct{}
	ctx        context.Context // done when the server is closed
	close      func()
	work       work // requests, connections and goroutines; Close waits for them

	loop    loop
	streams streams
	// current is what streams tell. The loop stores it, before it tells them.
	current atomic.Pointer[snapshot]
	waiters waiters
	surveys surveys
}

// New returns a server that knows what its store knows. It has to be closed.
func New(c Config) (*Server, error) {
	s := &Server{
		domain: strings.ToLower(strings.Trim(c.Domain, ".")),
		url:    strings.TrimSuffix(c.URL, "/"),
		log:    c.Logger,

		publishTXT: c.PublishTXT,
		handshakes: make(chan struct{}, maxHandshakes),
		surveys:    newSurveys(),
	}
	if s.domain == "" {
		s.domain = "mesh.internal"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := checkDomain(s.domain); err != nil {
		return nil, err
	}
	st, err := c.state(s.domain)
	if err != nil {
		return nil, err
	}
	s.ctx, s.close = context.WithCancel(context.Background())
	s.loop = newLoop(c.Store, st)
	s.current.Store(&snapshot{terms: st.terms})
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	s.start(c.Authenticator)
	return s, nil
}

// state returns one that knows what the configuration says, and no more.
func (c *Config) state(domain string) (*state, error) {
	alloc, err := newAllocator(c.IPv4, c.IPv6)
	if err != nil {
		return nil, err
	}
	st := newState(rand.Text(), alloc, c.KeyExpiry)
	if st.terms.derp, err = cloneDERPMap(c.DERPMap); err != nil {
		return nil, err
	}
	if len(c.Policy) > 0 {
		if st.basePolicy, err = parsePolicy(c.Policy); err != nil {
			return nil, err
		}
	}
	dns := c.DNS // what the lists hold does not change
	if err := dns.check(); err != nil {
		return nil, err
	}
	st.terms.domain, st.baseDNS = domain, &dns
	st.terms.publishes = c.PublishTXT != nil
	st.policy, st.dns = st.basePolicy, st.baseDNS
	return st, nil
}

func (s *Server) start(a Authenticator) {
	s.noise = s.newNoiseServer()
	s.public = http.NewServeMux()
	s.public.HandleFunc("GET /key", s.serveKey)
	s.public.HandleFunc("POST /ts2021", s.serveUpgrade)
	s.public.HandleFunc("GET /ts2021", s.serveWebSocket)
	pages := s.newPages(a)
	s.public.Handle("/login/", pages)
	s.public.Handle("/admin/", pages)
	s.work.run(s.noise.serve)
	s.work.run(s.run)
	s.work.run(s.survey)
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

// Close ends all connections of nodes and returns nil when everything has come
// to an end. The store is not closed.
func (s *Server) Close() error {
	s.close()
	s.work.wait()
	return nil
}

// SetDERPMap tells all nodes of this server where the relays are from now on.
func (s *Server) SetDERPMap(ctx context.Context, m *derpmap.Map) error {
	m, err := cloneDERPMap(m)
	if err != nil {
		return err
	}
	return s.do(ctx, func(_ time.Time, st *state) error {
		t := *st.terms
		t.derp, st.terms = m, &t
		return nil
	})
}

func checkDomain(domain string) error {
	for l := range strings.SplitSeq(domain, ".") {
		if l != label(l) {
			return fmt.Errorf("coord: %q is not a DNS name", domain)
		}
	}
	return nil
}
