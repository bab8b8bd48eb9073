package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/key"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a network in memory with relays that can be started and stopped.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	hosts map[string]*host // by name
	dials map[string]int
}

// host is a running relay.
type host struct {
	server *derp.Server
	web    *http.Server
	conns  chan net.Conn
	done   chan struct{}
	served chan struct{}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, hosts: make(map[string]*host), dials: make(map[string]int)}
	t.Cleanup(func() {
		for name := range w.hosts {
			w.stop(name)
		}
	})
	return w
}

// start starts a relay and returns how a map describes it.
func (w *world) start(name string) *derpmap.Node {
	w.t.Helper()
	cert, certName, err := derp.SelfSigned(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.startAs(name, cert)
	return &derpmap.Node{Name: name, HostName: name, CertName: certName}
}

func (w *world) startAs(name string, cert tls.Certificate) {
	h := &host{
		server: derp.NewServer(derp.ServerConfig{}),
		conns:  make(chan net.Conn),
		done:   make(chan struct{}),
		served: make(chan struct{}),
	}
	h.web = &http.Server{Handler: h.server, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		h.web.Serve(tls.NewListener(h, &tls.Config{
			Certificates: []tls.Certificate{cert},
			// A ticket is written after the handshake, while the client
			// writes too: on a pipe without a buffer neither would end.
			SessionTicketsDisabled: true,
		}))
		close(h.served)
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = h
}

func (w *world) stop(name string) {
	w.mu.Lock()
	h := w.hosts[name]
	delete(w.hosts, name)
	w.mu.Unlock()
	h.web.Close()
	h.server.Close()
	<-h.served
}

func (w *world) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	name := strings.TrimSuffix(addr, ":443")
	w.mu.Lock()
	h := w.hosts[name]
	w.dials[name]++
	w.mu.Unlock()
	if h == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case h.conns <- there:
		return here, nil
	case <-h.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *world) dialed(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials[name]
}

func (h *host) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *host) Close() error   { close(h.done); return nil }
func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

// regions makes a map in which the first node is region 1, and so on.
func regions(nodes ...*derpmap.Node) *derpmap.Map {
	m := &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
	for i, n := range nodes {
		m.Regions[i+1] = &derpmap.Region{RegionID: i + 1, Nodes: []*derpmap.Node{n}}
	}
	return m
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// node is a Pool with its key.
type node struct {
	*Pool
	t   *testing.T
	key key.NodePrivate
}

func (w *world) node(m *derpmap.Map, home int) *node { return w.nodeVia(w.dial, m, home) }

func (w *world) nodeVia(dial dialFunc, m *derpmap.Map, home int) *node {
	k := key.NewNode()
	n := &node{NewPool(Config{Key: k, DialContext: dial}), w.t, k}
	w.t.Cleanup(func() { n.Close() })
	n.SetMap(m)
	n.SetHome(home)
	return n
}

func (n *node) public() key.NodePublic { return n.key.Public() }

func (n *node) send(region int, to *node, packet string) {
	n.t.Helper()
	if err := n.Send(region, to.public(), []byte(packet)); err != nil {
		n.t.Fatalf("send %q: %v", packet, err)
	}
}

// want expects a packet within a minute.
func (n *node) want(what string, region int, from *node, packet string) {
	n.t.Helper()
	select {
	case p, ok := <-n.Recv():
		if !ok || p.Region != region || p.Src != from.public() || string(p.Data) != packet {
			n.t.Fatalf("%s: got %q from %s in region %d", what, p.Data, p.Src.Short(), p.Region)
		}
		p.Release()
	case <-time.After(time.Minute):
		n.t.Fatalf("%s: nothing came", what)
	}
}

// wantNothing expects no packet for a while.
func (n *node) wantNothing(what string) {
	n.t.Helper()
	select {
	case p := <-n.Recv():
		n.t.Fatalf("%s: got %q", what, p.Data)
	case <-time.After(time.Second):
	}
}

// wantConnected waits for regions to be what they should be, and no others.
func (n *node) wantConnected(what string, within time.Duration, want ...int) {
	n.t.Helper()
	deadline := time.After(within)
	for {
		var got []int
		for _, s := range n.Status() {
			if s.Connected {
				got = append(got, s.Region)
			}
		}
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-n.Changed():
		case <-deadline:
			n.t.Fatalf("%s: connected to %v, want %v", what, got, want)
		}
	}
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }

// A frozen connection can be one that loses everything from some moment on, as
// after a change of network: writing works, and nothing comes.
type frozen struct {
	net.Conn
	once sync.Once
	ice  chan struct{} // closed when frozen
	gone chan struct{} // closed by Close
}

func newFrozen(c net.Conn) *frozen {
	return &frozen{Conn: c, ice: make(chan struct{}), gone: make(chan struct{})}
}

func (f *frozen) Write(p []byte) (int, error) {
	select {
	case <-f.ice:
		return len(p), nil
	default:
		return f.Conn.Write(p)
	}
}

func (f *frozen) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.ice:
		<-f.gone
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.gone) })
	return f.Conn.Close()
}

// from is a connection that has an address of ours.
type from struct {
	net.Conn
	local netip.Addr
}

func (f from) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.local, 4711))
}
