package magicsock

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// derpRelay is a relay, in memory, that can be stopped and started.
type derpRelay struct {
	cert     tls.Certificate
	certName string

	mu   sync.Mutex
	here *derpRun // nil while stopped
}

// derpRun is a relay from start to stop, and its net.Listener.
type derpRun struct {
	server *derp.Server
	web    *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newDERPRelay(t *testing.T) *derpRelay {
	t.Helper()
	r := new(derpRelay)
	var err error
	if r.cert, r.certName, err = derp.SelfSigned("relay.test"); err != nil {
		t.Fatal(err)
	}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *derpRelay) start() {
	run := &derpRun{server: derp.NewServer(derp.ServerConfig{}), conns: make(chan net.Conn), closed: make(chan struct{})}
	run.web = &http.Server{Handler: run.server, ErrorLog: log.New(io.Discard, "", 0)}
	// A session ticket is written while the client writes, too: on a pipe,
	// which has no buffer, neither would end.
	go run.web.Serve(tls.NewListener(run, &tls.Config{Certificates: []tls.Certificate{r.cert}, SessionTicketsDisabled: true}))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.here = run
}

func (r *derpRelay) stop() {
	r.mu.Lock()
	run := r.here
	r.here = nil
	r.mu.Unlock()
	if run != nil {
		run.web.Close()
		run.server.Close()
	}
}

func (r *derpRelay) derpMap() *derpmap.Map {
	m := testMap(1)
	m.Regions[1].Nodes[0].CertName = r.certName
	return m
}

func (r *derpRelay) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	r.mu.Lock()
	run := r.here
	r.mu.Unlock()
	if run == nil {
		return nil, net.ErrClosed
	}
	here, there := net.Pipe()
	select {
	case run.conns <- there:
		return here, nil
	case <-run.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *derpRun) Accept() (net.Conn, error) {
	select {
	case nc := <-r.conns:
		return nc, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *derpRun) Close() error   { r.once.Do(func() { close(r.closed) }); return nil }
func (r *derpRun) Addr() net.Addr { return &net.TCPAddr{} }

func (r *derpRelay) node(t *testing.T, addr string) *node {
	t.Helper()
	n := newNode(t, addr, func(cfg Config) *Conn { cfg.DialContext = r.dial; return New(cfg) })
	n.SetDERPMap(r.derpMap())
	return n
}

// All parts as they ship: WireGuard, magicsock, relay, DERP, TLS.
func TestDERP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDERPRelay(t)
		a, b := r.node(t, "100.64.0.1"), r.node(t, "100.64.0.2")
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		time.Sleep(time.Second)
		if got := a.Local(); got.HomeDERP != 1 || !got.Connected {
			t.Errorf("local: %+v", got)
		}
		wantArrives(t, "first packet", a, b, true)
		for range 5 {
			time.Sleep(time.Hour)
			wantArrives(t, "after an hour", b, a, true)
			wantArrives(t, "and back", a, b, true)
		}

		r.stop()
		wantArrives(t, "while the relay is down", a, b, false)
		if a.Local().Connected {
			t.Error("connected to a relay that is down")
		}
		r.start()
		time.Sleep(30 * time.Second)
		wantArrives(t, "after the restart", b, a, true)
		wantArrives(t, "and back", a, b, true)
	})
}
