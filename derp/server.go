package derp

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	handshakeTimeout   = 10 * time.Second
	serverWriteTimeout = 2 * time.Second  // a client that takes longer is gone, or too slow to be of use
	meshWriteTimeout   = 30 * time.Second // a relay is worth more patience
	keepAlivePeriod    = 60 * time.Second
	keepAliveJitter    = 5 * time.Second
	shutdownTimeout    = 5 * time.Second

	defaultMaxConns = 16 << 10
)

// ServerConfig is what a [Server] is made from. The zero value is a relay for
// everybody.
type ServerConfig struct {
	// Key is the relay's own. Zero means a new one. Keep it over restarts when
	// the relay meshes with others.
	Key key.NodePrivate
	// MeshKey is the secret of the region's relays: whoever shows it may watch
	// who comes and goes, forward packets, and disconnect clients. Zero means
	// that nobody may.
	MeshKey MeshKey
	// Admit, when not nil, decides about each client that has proven its key
	// and that connects from addr (zero when unknown). An error turns it away;
	// its text is logged, not sent. ctx ends with the time for the login, and
	// with the Server. Relays that show the MeshKey are not asked about.
	// [AdmitURL] makes one.
	Admit func(ctx context.Context, client key.NodePublic, addr netip.AddrPort) error
	// Limit is what each client may send.
	Limit Limit
	// PlainHTTP serves clients also without TLS: for tests, and when a proxy
	// before the relay has TLS.
	PlainHTTP bool
	// MaxConns bounds the connections; 0 means 16384. Each takes some 20 KiB,
	// and up to a MiB more while its client is slower than those who send to
	// it, which may last for two seconds.
	MaxConns int
	// Logger gets a line for each client that comes, goes, or is refused, on
	// the debug level, and for each link to another relay that comes or goes,
	// on the info level. Nil is silent.
	Logger *slog.Logger
}

// Limit is on what each client may send. Clients are told; those who send more
// are read from more slowly.
type Limit struct {
	// BytesPerSecond is counted with the headers of frames. 0 means no limit.
	BytesPerSecond int
	// Burst is how many bytes may come at once. It is at least the size of the
	// largest frame, about 64 KiB.
	Burst int
}

// Server is a relay: an [net/http.Handler] that answers
//
//	/derp                             the relay itself, by upgrade or WebSocket
//	/derp/probe, /derp/latency-check  nothing, fast, for those who measure
//	/generate_204                     no content, for the detection of captive portals
//
// Serve it over TLS, with the configuration that [Server.TLSConfig] returns:
// clients dial nothing else. Over plain HTTP, a login could be recorded and
// repeated by who sees it, who would then get the client's packets (sealed as
// they are), so there is no relay unless [ServerConfig].PlainHTTP asks for it.
// The [net/http.Server] around it should
// have a ReadHeaderTimeout. ServeHTTP takes connections out of it, and returns
// while they are served.
//
// When a client connects twice, the newest connection gets its packets; when
// that one ends, the one before it does.
type Server struct {
	key     key.NodePrivate
	public  key.NodePublic
	meshKey MeshKey
	admit   func(context.Context, key.NodePublic, netip.AddrPort) error
	limit   Limit
	plain   bool // also without TLS
	log     *slog.Logger
	meta    []byte // the certificate that says our key

	messages messages
	batches  batches
	registry *registry
	heard    *heard
	past     past

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// NewServer makes a relay.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Key.IsZero() {
		cfg.Key = key.NewNode()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	const largest = headerSize + 2*key.Size + MaxPacketSize
	cfg.Limit.Burst = max(cfg.Limit.Burst, largest)
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		key:      cfg.Key,
		public:   cfg.Key.Public(),
		meshKey:  cfg.MeshKey,
		admit:    cfg.Admit,
		limit:    cfg.Limit,
		plain:    cfg.PlainHTTP,
		log:      cfg.Logger,
		meta:     metaCert(cfg.Key.Public()),
		registry: newRegistry(cmp.Or(cfg.MaxConns, defaultMaxConns)),
		heard:    newHeard(),
		ctx:      ctx,
		cancel:   cancel,
	}
}

// PublicKey returns the relay's key.
func (s *Server) PublicKey() key.NodePublic { return s.public }

// Disconnect ends the connections of a client. It may connect again if it is
// admitted. It reports whether there were any here; clients of other relays of
// the region are not looked for.
func (s *Server) Disconnect(client key.NodePublic) bool {
	conns := s.registry.ofKey(client)
	for _, c := range conns {
		closeNow(c.nc)
	}
	return len(conns) > 0
}

// Shutdown ends the relay in a way that clients understand: it lets no more in,
// and tells each to connect again after a time of its own between 0 and spread,
// and not to worry for patience after that. It closes when all have left, or
// after five seconds, or when ctx ends; then it returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context, spread, patience time.Duration) error {
	s.registry.close()
	for _, c := range s.registry.sessions() {
		m := s.restarting(rand.N(max(spread, 1)), patience)
		s.start(&c.destination, c.out.finish(m))
	}
	ended := make(chan struct{})
	go func() {
		s.registry.serving.Wait()
		close(ended)
	}()
	timeout := time.NewTimer(shutdownTimeout)
	defer timeout.Stop()
	var err error
	select {
	case <-ended:
	case <-timeout.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	<-ended
	return err
}

// Close ends all connections and waits for what served them. Later requests
// for the relay are refused.
func (s *Server) Close() error {
	s.cancel()
	s.registry.close()
	s.registry.endConns()
	s.registry.serving.Wait()
	return nil
}

// join makes c the connection of its client, and tells who must know.
func (s *Server) join(c *session) {
	before, watchers := s.registry.register(c)
	if before != nil {
		s.tellHealth(before, anotherConnection)
	}
	s.tellNews(watchers)
}

// leave takes c out, and tells those who have heard from its key, when this
// was its last connection in the region, that it is gone.
func (s *Server) leave(c *session) {
	d := s.registry.unregister(c)
	c.out.close()
	s.past.keep(c.traffic())
	s.heard.forget(&c.destination)
	if d.heir != nil {
		s.tellHealth(d.heir, "")
	}
	if d.gone {
		s.tellGoneToAll(c.key)
	}
	s.tellNews(d.watchers)
}

// tellGoneToAll tells those who have heard from k that it has left the region.
func (s *Server) tellGoneToAll(k key.NodePublic) {
	for to := range s.heard.take(k) {
		s.tellGone(to, k, PeerGoneDisconnected)
	}
}

// tellNews makes relays hear what was noted for them.
func (s *Server) tellNews(watchers []*session) {
	for _, w := range watchers {
		s.start(&w.destination, w.out.nudge())
	}
}
