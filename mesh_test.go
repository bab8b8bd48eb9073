package meshnet

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// testCtx bounds what a test waits for; no test takes nearly that long.
func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A mesh is a coordinator and a relay on loopback, each of which can be
// stopped and started again.
type mesh struct {
	t       testing.TB
	cfg     coord.Config
	coord   *coord.Server
	authKey string
	nodes   []*Server     // that came up
	log     *lockedBuffer // of coordinator, relay and all nodes, at debug level

	control, relay         service
	controlAddr, relayAddr string
	relayCert              tls.Certificate
}

// A service is an HTTP server with what it serves.
type service struct {
	ln      net.Listener
	http    *http.Server
	handler interface{ Close() error }
}

func (s service) stop() {
	s.http.Close()
	s.ln.Close() // it may be that http has not begun to serve it
	s.handler.Close()
}

// newMesh starts a mesh; adjust, which may be nil, changes the coordinator's
// configuration first.
func newMesh(t testing.TB, adjust func(*coord.Config)) *mesh {
	t.Helper()
	m := &mesh{t: t, log: new(lockedBuffer), controlAddr: "127.0.0.1:0", relayAddr: "127.0.0.1:0"}
	var certName string
	var err error
	if m.relayCert, certName, err = derp.SelfSigned("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	m.startRelay()
	port := m.port(m.relayAddr)
	m.cfg = coord.Config{
		Logger: m.logger("coordinator"),
		Store:  coord.NewMemoryStore(), // the same for a coordinator that is started anew
		DERPMap: &derpmap.Map{OmitDefaultRegions: true, Regions: map[int]*derpmap.Region{900: {
			RegionID: 900, RegionCode: "test", RegionName: "Test",
			Nodes: []*derpmap.Node{{Name: "900a", RegionID: 900, HostName: "127.0.0.1", CertName: certName, DERPPort: port, STUNPort: -1}},
		}}},
	}
	if adjust != nil {
		adjust(&m.cfg)
	}
	m.startCoord()
	if m.authKey, err = m.coord.CreateAuthKey(t.Context(), coord.AuthKeyOptions{Reusable: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.control.stop()
		m.relay.stop()
	})
	return m
}

func (m *mesh) startRelay() {
	relay := derp.NewServer(derp.ServerConfig{Logger: m.logger("relay")})
	ln := m.listen(&m.relayAddr)
	m.relay = serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{m.relayCert}}), relay, relay)
}

func (m *mesh) startCoord() {
	var err error
	if m.coord, err = coord.New(m.cfg); err != nil {
		m.t.Fatal(err)
	}
	m.control = serve(m.listen(&m.controlAddr), m.coord, m.coord)
}

// listen listens on addr and puts the port that it got into it, so that the
// next start is on the same.
func (m *mesh) listen(addr *string) net.Listener {
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		m.t.Fatal(err)
	}
	*addr = ln.Addr().String()
	return ln
}

func (m *mesh) port(addr string) int {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		m.t.Fatal(err)
	}
	return a.Port
}

func serve(ln net.Listener, h http.Handler, owned interface{ Close() error }) service {
	s := service{ln, &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}, owned}
	go s.http.Serve(ln)
	return s
}

// server returns a node of the mesh that is not started.
func (m *mesh) server(name string) *Server {
	s := &Server{
		Hostname:   name,
		ControlURL: "http://" + m.controlAddr,
		AuthKey:    m.authKey,
		Store:      NewMemoryStore(),
		Underlay: Underlay{
			Interfaces: func() ([]netip.Prefix, error) { return []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}, nil },
			Gateway:    func() (netip.Addr, bool) { return netip.Addr{}, false },
		},
		Logger: m.logger(name),
	}
	m.t.Cleanup(func() { s.Close() })
	return s
}

// logger writes all that somebody has to say into the mesh's log.
func (m *mesh) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
}

// up returns a node of the mesh that is up, and that those that came up before
// know.
func (m *mesh) up(name string) *Server {
	m.t.Helper()
	s := m.server(name)
	m.bringUp(s)
	return s
}

// bringUp waits until a node is up, and those that came up before know it.
func (m *mesh) bringUp(s *Server) {
	m.t.Helper()
	if _, err := s.Up(testCtx(m.t)); err != nil {
		m.t.Fatalf("%s does not come up: %v", s.Hostname, err)
	}
	for _, other := range m.nodes {
		if other.Status().State == StateRunning {
			eventually(m.t, "they know "+s.Hostname, func() bool { return slices.ContainsFunc(other.Status().Peers, s.is) })
		}
	}
	m.nodes = append(m.nodes, s)
}

// is reports whether a peer is the node.
func (s *Server) is(p PeerStatus) bool { return p.Key == s.Status().Self.Key }

// eventually waits until something holds that nobody tells.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := testCtx(t)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// A lockedBuffer is a log that may be written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
