package derp

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	handshakeTimeout   = 10 * time.Second
	serverWriteTimeout = 2 * time.Second // a client that takes longer is gone, or too slow to be of use
	keepAlivePeriod    = 60 * time.Second
	keepAliveJitter    = 5 * time.Second
	serverBuffer       = 16 << 10 // one TLS record

	defaultMaxConns = 16 << 10
	maxConnsPerKey  = 8 // more are connections that died unnoticed
)

// ServerConfig is what a [Server] is made from. The zero value is a relay for
// everybody.
type ServerConfig struct {
	// Key is the relay's own. Zero means a new one; nothing depends on its
	// staying the same.
	Key key.NodePrivate
	// Admit, when not nil, decides about each client that has proven its key
	// and that connects from addr (zero when unknown). An error turns it away;
	// its text is logged, not sent. ctx ends with the time for the login, and
	// with the Server.
	Admit func(ctx context.Context, client key.NodePublic, addr netip.AddrPort) error
	// MaxConns bounds the connections; 0 means 16384.
	MaxConns int
	// Logger gets a line for each client that comes, goes, or is refused, on
	// the debug level. Nil is silent.
	Logger *slog.Logger
}

// Server is a relay: an [net/http.Handler] that answers
//
//	/derp                             the relay itself, by upgrade
//	/derp/probe, /derp/latency-check  nothing, fast, for those who measure
//	/generate_204                     no content, for the detection of captive portals
//
// Serve it over TLS: clients dial nothing else, and over plain HTTP, which is
// for tests, a login could be recorded and repeated by who sees it, who would
// then get the client's packets (sealed as they are). The [net/http.Server]
// around it should have a ReadHeaderTimeout.
//
// When a client connects twice, the newest connection gets its packets; when
// that one ends, the one before it does.
type Server struct {
	key      key.NodePrivate
	public   key.NodePublic
	admit    func(context.Context, key.NodePublic, netip.AddrPort) error
	maxConns int
	log      *slog.Logger

	messages messages
	writers  sync.Pool // of *bufio.Writer; idle clients need none

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	serving sync.WaitGroup // one for each of conns

	mu      sync.RWMutex // guards what is below
	closed  bool
	conns   map[net.Conn]struct{}         // all, those that log in too
	clients map[key.NodePublic][]*session // never empty; oldest first; the last is active
}

// NewServer makes a relay.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Key.IsZero() {
		cfg.Key = key.NewNode()
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		ctx:      ctx,
		cancel:   cancel,
		key:      cfg.Key,
		public:   cfg.Key.Public(),
		admit:    cfg.Admit,
		maxConns: cmp.Or(cfg.MaxConns, defaultMaxConns),
		log:      log,
		conns:    make(map[net.Conn]struct{}),
		clients:  make(map[key.NodePublic][]*session),
	}
}

// PublicKey returns the relay's key.
func (s *Server) PublicKey() key.NodePublic { return s.public }

// Close ends all connections and waits for what served them. Later requests
// for the relay are refused.
func (s *Server) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	for nc := range s.conns {
		closeNow(nc)
	}
	s.mu.Unlock()
	s.serving.Wait()
	return nil
}

// add notes a new connection. It reports false when there may be no more.
func (s *Server) add(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.maxConns {
		return false
	}
	s.conns[nc] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) remove(nc net.Conn) {
	closeNow(nc)
	s.mu.Lock()
	delete(s.conns, nc)
	s.mu.Unlock()
	s.serving.Done()
}

// register makes c the connection that gets the packets for its key.
func (s *Server) register(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.clients[c.key]
	if len(list) > 0 {
		list[len(list)-1].active.Store(false)
	}
	if len(list) >= maxConnsPerKey {
		closeNow(list[0].nc) // its reader then unregisters it
	}
	c.active.Store(true)
	s.clients[c.key] = append(list, c)
}

// unregister takes c out and reports whether its key has no connection left.
func (s *Server) unregister(c *session) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.active.Store(false)
	list := slices.DeleteFunc(s.clients[c.key], func(o *session) bool { return o == c })
	if len(list) == 0 {
		delete(s.clients, c.key)
		return true
	}
	s.clients[c.key] = list
	list[len(list)-1].active.Store(true)
	return false
}

// lookup returns the connection that gets the packets for k, or nil.
func (s *Server) lookup(k key.NodePublic) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if list := s.clients[k]; len(list) > 0 {
		return list[len(list)-1]
	}
	return nil
}
