package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

func TestMain(m *testing.M) { leak.Main(m) }

// coordinator is a fake one whose answers the test writes by hand. Requests
// wait for the test to take them.
type coordinator struct {
	t     *testing.T
	key   key.MachinePrivate
	early []byte      // sent before anything else on the Noise connection
	deaf  bool        // reads nothing after the Noise handshake
	curt  bool        // hangs up when it has told its key
	tls   *tls.Config // if set, it speaks TLS

	registers chan *exchange
	updates   chan *exchange
	streams   chan *exchange
	others    chan *exchange

	mu    sync.Mutex
	conns []net.Conn // the coordinator's ends
	dials int
}

// exchange is a request that waits for the test's answer.
type exchange struct {
	t        *testing.T
	method   string
	path     string
	body     []byte
	register tailcfg.RegisterRequest
	mapping  tailcfg.MapRequest
	gone     <-chan struct{}                  // closed when the client gave up
	do       chan func(w http.ResponseWriter) // what the test wants done; closed at the end
}

func newCoordinator(t *testing.T) *coordinator {
	c := &coordinator{
		t:         t,
		key:       key.NewMachine(),
		registers: make(chan *exchange),
		updates:   make(chan *exchange),
		streams:   make(chan *exchange),
		others:    make(chan *exchange),
	}
	t.Cleanup(c.cut)
	return c
}

// scenario runs a test on fake time with a session that has begun.
func scenario(t *testing.T, test func(t *testing.T, c *coordinator, s *Session), options ...func(*SessionConfig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCoordinator(t)
		cfg := c.sessionConfig()
		for _, option := range options {
			option(&cfg)
		}
		s := Start(cfg)
		defer s.Close()
		test(t, c, s)
	})
}

var (
	testNode    = key.NewNode().Public()
	testDisco   = key.NewDisco().Public()
	testMachine = key.NewMachine()
)

const testAuthKey = "the-auth-key"

func (c *coordinator) sessionConfig() SessionConfig {
	return SessionConfig{
		Config: Config{
			URL:       "http://example.com:8080",
			ServerKey: c.key.Public(),
			Machine:   testMachine,
			Dial:      c.dial,
		},
		NodeKey: testNode,
		AuthKey: testAuthKey,
		State:   State{Disco: testDisco, Hostinfo: tailcfg.Hostinfo{Hostname: "one"}},
	}
}

func (c *coordinator) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !strings.EqualFold(addr, "example.com:8080") {
		c.t.Errorf("dials %s", addr)
		return nil, errors.New("no such host")
	}
	var near, far net.Conn = net.Pipe()
	if c.tls != nil {
		far = tls.Server(far, c.tls)
	}
	c.mu.Lock()
	c.conns = append(c.conns, far)
	c.dials++
	c.mu.Unlock()
	go c.serveOutside(far)
	return near, nil
}

// cut breaks all connections.
func (c *coordinator) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *coordinator) dialled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials
}

// serveOutside serves requests for the key and one other in clear, and what comes
// of that.
func (c *coordinator) serveOutside(nc net.Conn) {
	br := bufio.NewReader(nc)
	req, err := http.ReadRequest(br)
	for ; err == nil && req.URL.String() == "/key?v=119" && !c.curt; req, err = http.ReadRequest(br) {
		c.tellKey(nc)
	}
	if err != nil {
		nc.Close()
		return
	}
	if c.curt && req.URL.Path == "/key" {
		c.tellKey(nc)
		nc.Close()
		return
	}
	if req.URL.Path != "/ts2021" {
		defer nc.Close()
		select {
		case c.others <- &exchange{t: c.t, method: req.Method, path: "outside " + req.URL.String()}:
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		case <-time.After(time.Minute):
		}
		return
	}
	if req.Method != http.MethodPost || req.Header.Get("Upgrade") != upgradeProtocol {
		c.t.Errorf("a bad upgrade: %s %v", req.Method, req.Header)
	}
	message, err := base64.StdEncoding.DecodeString(req.Header.Get(handshakeHeader))
	if err != nil {
		c.t.Error(err)
	}
	io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+upgradeProtocol+"\r\nConnection: upgrade\r\n\r\n")
	conn, err := noise.Accept(nc, c.key, message)
	if err != nil {
		nc.Close()
		return
	}
	if conn.Peer() != testMachine.Public() || conn.Version() != uint16(tailcfg.CurrentCapability) {
		c.t.Errorf("the client is %v, version %d", conn.Peer(), conn.Version())
	}
	if c.deaf {
		return
	}
	serveInside(&beginning{Conn: conn, with: c.early}, http.HandlerFunc(c.serve))
}

func (c *coordinator) tellKey(nc net.Conn) {
	body := `{"legacyPublicKey":"` + key.MachinePublic{}.String() + `","publicKey":"` + c.key.Public().String() + `"}`
	fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// serveInside speaks HTTP/2 on one connection until it breaks.
func serveInside(conn net.Conn, handler http.Handler) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: handler, Protocols: &protocols}
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{}), addr: conn.LocalAddr()}
	l.conn <- &closeNotifier{Conn: conn, closed: l.closed}
	srv.Serve(l)
}

// serve hands a request to the test and waits until that is done with it.
func (c *coordinator) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	x := &exchange{
		t: c.t, method: r.Method, path: r.URL.Path, body: body,
		gone: r.Context().Done(), do: make(chan func(http.ResponseWriter)),
	}
	to := c.others
	switch r.URL.Path {
	case "/machine/register":
		x.decode(&x.register)
		to = c.registers
	case "/machine/map":
		x.decode(&x.mapping)
		to = c.updates
		if x.mapping.Stream {
			to = c.streams
		} else if !x.mapping.OmitPeers {
			c.t.Error("a map request that is neither a stream nor an update")
		}
	}
	select {
	case to <- x:
	case <-x.gone:
		return
	}
	for {
		select {
		case f, ok := <-x.do:
			if !ok {
				return
			}
			f(w)
		case <-x.gone:
			return
		}
	}
}

func (x *exchange) decode(v any) {
	if err := json.Unmarshal(x.body, v); err != nil {
		x.t.Errorf("%s with a body that does not decode: %v", x.path, err)
	}
}

// then does something in the goroutine of the request.
func (x *exchange) then(f func(w http.ResponseWriter)) {
	select {
	case x.do <- f:
	case <-x.gone:
	}
}

// end ends the answer.
func (x *exchange) end() { close(x.do) }

// answer answers with that status and body, which is text or becomes JSON.
func (x *exchange) answer(status int, v any) {
	x.then(func(w http.ResponseWriter) {
		w.WriteHeader(status)
		if text, ok := v.(string); ok {
			io.WriteString(w, text)
		} else if v != nil {
			json.NewEncoder(w).Encode(v)
		}
	})
	x.end()
}

func (x *exchange) answerRegister(resp tailcfg.RegisterResponse) { x.answer(http.StatusOK, resp) }

// send writes one frame of a stream.
func (x *exchange) send(m *tailcfg.MapResponse) {
	body, err := json.Marshal(m)
	if err != nil {
		x.t.Fatal(err)
	}
	x.sendRaw(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
}

func (x *exchange) sendRaw(data []byte) {
	x.then(func(w http.ResponseWriter) {
		w.Write(data)
		w.(http.Flusher).Flush()
	})
}

// patience is how long, on fake time, something may take to happen.
const patience = 10 * time.Minute

func want[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("%s: never, the channel is closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("%s: never happens", what)
	}
	panic("unreachable")
}

func wantNone[T any](t *testing.T, what string, from <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-from:
		t.Fatalf("%s: %+v", what, v)
	default:
	}
}

func wantErr(t *testing.T, what string, s *Session, text string) {
	t.Helper()
	ev := want(t, what, s.Events())
	if ev.Err == nil || !strings.Contains(ev.Err.Error(), text) {
		t.Fatalf("%s: %+v, want an error with %q", what, ev, text)
	}
}

func wantEnd(t *testing.T, s *Session) {
	t.Helper()
	select {
	case ev, ok := <-s.Events():
		if ok {
			t.Fatalf("the session goes on: %+v", ev)
		}
	case <-time.After(patience):
		t.Fatal("the session does not end")
	}
}

// joined brings a session to where it has a stream, of which the first frame
// was received.
func joined(t *testing.T, c *coordinator, s *Session) (streaming *exchange) {
	t.Helper()
	want(t, "it registers", c.registers).answerRegister(tailcfg.RegisterResponse{MachineAuthorized: true})
	if ev := want(t, "it says so", s.Events()); ev.Registered == nil {
		t.Fatalf("not registered: %+v", ev)
	}
	want(t, "it reports its state", c.updates).answer(http.StatusOK, nil)
	streaming = want(t, "it follows the map", c.streams)
	streaming.send(&tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1}})
	if ev := want(t, "the map arrives", s.Events()); ev.Map == nil || !ev.First {
		t.Fatalf("not the first map: %+v", ev)
	}
	return streaming
}

// beginning is a connection on which the first Write says something before. A
// pipe has no room for it until the other side reads.
type beginning struct {
	net.Conn
	with []byte
}

func (c *beginning) Write(p []byte) (int, error) {
	with := c.with
	c.with = nil
	if _, err := c.Conn.Write(with); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// oneConn is a listener that accepts one connection, and is closed with it.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
	addr   net.Addr
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conn:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.addr }

type closeNotifier struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closeNotifier) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
