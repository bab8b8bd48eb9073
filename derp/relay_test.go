package derp

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/key"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// relay is a Server that clients reach over TLS and memory.
type relay struct {
	*Server
	listener *pipes
	node     *derpmap.Node
}

func newRelay(t testing.TB, cfg ServerConfig) *relay {
	t.Helper()
	s := NewServer(cfg)
	return newRelayOf(t, s, s)
}

// newRelayOf has a handler answer that may stand before the Server, or in its
// place.
func newRelayOf(t testing.TB, s *Server, handler http.Handler) *relay {
	t.Helper()
	cert, certName, err := SelfSigned("relay.test")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{
		Server:   s,
		listener: newPipes(),
		node:     &derpmap.Node{Name: "1a", RegionID: 1, HostName: "relay.test", CertName: certName},
	}
	web := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() {
		served <- web.Serve(tls.NewListener(r.listener, r.TLSConfig(&tls.Config{
			Certificates: []tls.Certificate{cert},
			// A ticket is written after the handshake, while the client
			// writes too: on a pipe without a buffer neither would end.
			SessionTicketsDisabled: true,
		})))
	}()
	t.Cleanup(func() {
		web.Close()
		r.Close()
		<-served
	})
	return r
}

func (r *relay) dialConfig(priv key.NodePrivate) DialConfig {
	return DialConfig{
		Key:         priv,
		Region:      &derpmap.Region{RegionID: 1, Nodes: []*derpmap.Node{r.node}},
		DialContext: r.listener.dial,
	}
}

// member is a client with its key.
type member struct {
	*Client
	priv key.NodePrivate
}

func (m member) public() key.NodePublic { return m.priv.Public() }

func (r *relay) join(t testing.TB) member {
	t.Helper()
	return r.joinAs(t, key.NewNode())
}

func (r *relay) joinAs(t testing.TB, priv key.NodePrivate) member {
	t.Helper()
	c, err := Dial(t.Context(), r.dialConfig(priv))
	if err != nil {
		t.Fatalf("a client joins: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return member{c, priv}
}

func (m member) send(t testing.TB, to member, packet string) {
	t.Helper()
	m.sendKey(t, to.public(), packet)
}

func (m member) sendKey(t testing.TB, to key.NodePublic, packet string) {
	t.Helper()
	if err := m.Send(to, []byte(packet)); err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := m.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// want expects a frame before the next keep-alive.
func (m member) want(t testing.TB, what string, ok func(Frame) bool) {
	t.Helper()
	f, err := m.Recv()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !ok(f) {
		t.Fatalf("%s: got %+v", what, f)
	}
}

func (m member) wantPacket(t testing.TB, what string, from member, packet string) {
	t.Helper()
	m.want(t, what, func(f Frame) bool {
		return f.Type == FrameRecvPacket && f.Peer == from.public() && string(f.Data) == packet
	})
}

func (m member) wantGone(t testing.TB, what string, peer key.NodePublic, reason PeerGoneReason) {
	t.Helper()
	m.want(t, what, func(f Frame) bool {
		return f.Type == FramePeerGone && f.Peer == peer && f.Reason == reason
	})
}

// wantSilence expects that nothing has come before the echo of what m sends to
// itself: the relay keeps the order.
func (m member) wantSilence(t testing.TB, what string) {
	t.Helper()
	m.send(t, m, "echo")
	m.wantPacket(t, what, m, "echo")
}

// disco returns a packet that looks like a disco message.
func disco(content string) string {
	return discoMagic + strings.Repeat("k", 32) + strings.Repeat("n", 24) + content
}

// rawLogin is the relay's side of what a client says, for tests that say it
// wrong: it upgrades and returns the connection after the greeting.
func (r *relay) rawLogin(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := r.listener.dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(nc, tlsConfig(r.node, nil))
	t.Cleanup(func() { closeNow(conn) })
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	a := attempt{node: r.node}
	br := bufio.NewReader(conn)
	req := a.request(pathDERP)
	req.Header.Set("Upgrade", upgradeDERP)
	req.Header.Set("Connection", "Upgrade")
	if resp, err := ask(br, bufio.NewWriter(conn), req); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade: %+v, %v", resp, err)
	}
	server, err := readServerKey(br)
	if err != nil || server != r.PublicKey() {
		t.Fatalf("greeting: %v, %v", server, err)
	}
	return conn, br
}
