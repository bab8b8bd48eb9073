package coord

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/wsconn"
)

const (
	upgradeProtocol = "tailscale-control-protocol"
	handshakeHeader = "X-Tailscale-Handshake"

	handshakeTimeout = 10 * time.Second // and as much again until the first request
	bodyTimeout      = 20 * time.Second // for all of a request's body
	maxBody          = 128 << 10        // bytes of a request; nodes send some thousand
	maxHeader        = 16 << 10         // bytes of a request's header
	maxHandshakes    = 128              // at once; each takes a millisecond of work, and waits for a network
)

// serveUpgrade answers POST /ts2021: it turns the connection into one between
// the keys of the machine and ours, and hands it to the HTTP/2 server.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	initiation, ok := parseInitiation(r.Header.Get(handshakeHeader))
	if !ok || !strings.EqualFold(r.Header.Get("Upgrade"), upgradeProtocol) {
		http.Error(w, "this is the path of the control protocol: it wants an upgrade to "+upgradeProtocol, http.StatusBadRequest)
		return
	}
	s.serveMachine(w, r, initiation, func() (net.Conn, error) { return s.switchProtocols(w) })
}

// serveWebSocket answers GET /ts2021, which is what browsers have for
// POST: the initiation is in the query, and the connection in a WebSocket. Any
// page may come. What says whose a machine is, is its key.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	initiation, ok := parseInitiation(r.URL.Query().Get(handshakeHeader))
	if !ok || !wsconn.Offered(r, upgradeProtocol) {
		http.Error(w, "this is the path of the control protocol: it wants a WebSocket for "+upgradeProtocol, http.StatusBadRequest)
		return
	}
	s.serveMachine(w, r, initiation, func() (net.Conn, error) { return wsconn.Accept(w, r, upgradeProtocol) })
}

func parseInitiation(text string) (initiation []byte, ok bool) {
	initiation, err := base64.StdEncoding.DecodeString(text)
	return initiation, err == nil && len(initiation) > 0
}

// serveMachine makes a Noise connection in what take takes out of HTTP, unless
// too many want one.
func (s *Server) serveMachine(w http.ResponseWriter, r *http.Request, initiation []byte, take func() (net.Conn, error)) {
	select {
	case s.handshakes <- struct{}{}:
		defer func() { <-s.handshakes }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many machines connect at once", http.StatusServiceUnavailable)
		return
	}
	nc, err := take()
	if err != nil {
		s.log.Debug("control connection failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	conn, err := s.handshake(nc, initiation)
	if err != nil {
		nc.Close()
		s.log.Debug("control connection failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	s.hand(&controlConn{Conn: conn, url: s.loginBase(r)})
}

// switchProtocols takes the connection from w after the ordinary upgrade.
func (s *Server) switchProtocols(w http.ResponseWriter) (net.Conn, error) {
	nc, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "the upgrade needs HTTP/1.1", http.StatusBadRequest)
		return nil, err
	}
	stop := context.AfterFunc(s.ctx, func() { nc.Close() })
	defer stop()
	err = nc.SetDeadline(time.Now().Add(handshakeTimeout))
	if err == nil {
		_, err = fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: upgrade\r\n\r\n", upgradeProtocol)
	}
	if buf.Reader.Buffered() > 0 { // nothing can be said before our answer is read
		err = errors.New("data before the handshake")
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

func (s *Server) handshake(nc net.Conn, initiation []byte) (*noise.Conn, error) {
	stop := context.AfterFunc(s.ctx, func() { nc.Close() })
	defer stop()
	if err := nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	conn, err := noise.Accept(nc, s.key, initiation)
	if err != nil {
		return nil, err
	}
	return conn, nc.SetDeadline(time.Time{})
}

// loginBase returns what the login URLs of a node begin with that came by r.
func (s *Server) loginBase(r *http.Request) string {
	switch {
	case s.url != "":
		return s.url
	case r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// controlConn is the connection of a machine after the handshake.
type controlConn struct {
	*noise.Conn
	url string // the coordinator's, as the machine knows it
	end func() // called when the HTTP/2 server is done with it
}

// hand gives the connection to the HTTP/2 server.
func (s *Server) hand(conn *controlConn) {
	if !s.work.begin() {
		conn.Close()
		return
	}
	oldest, ok := s.conns.add(conn, s.current.Load().hasMachine(conn.Peer()))
	if !ok {
		s.log.Debug("too many control connections", "remote", conn.RemoteAddr())
		conn.Close()
		s.work.end()
		return
	}
	if oldest != nil {
		oldest.Close() // the server then ends it
	}
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	conn.end = func() {
		stop()
		s.conns.remove(conn)
		s.work.end()
	}
	select {
	case s.noise.conns <- conn:
	case <-s.ctx.Done():
		conn.Close()
		conn.end()
	}
}

// noiseServer serves HTTP/2 on the connections it is handed. It is the
// net.Listener of the http.Server inside.
type noiseServer struct {
	http  *http.Server
	done  <-chan struct{}
	conns chan *controlConn
}

func (n *noiseServer) serve() { n.http.Serve(n) }

func (n *noiseServer) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *noiseServer) Close() error   { return nil }
func (n *noiseServer) Addr() net.Addr { return noAddr{} }

type noAddr struct{}

func (noAddr) Network() string { return "ts2021" }
func (noAddr) String() string  { return "ts2021" }

type connKey struct{}

// connOf returns the connection on which a request came.
func connOf(r *http.Request) *controlConn { return r.Context().Value(connKey{}).(*controlConn) }

func (s *Server) newNoiseServer() *noiseServer {
	h2 := &http.Server{
		Handler:   s.noiseHandler(),
		Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 8, // nodes need three or four
			// A machine that has gone without a word is found out.
			SendPingTimeout:  time.Minute,
			WriteByteTimeout: time.Minute,
		},
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				c.(*controlConn).end()
			}
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	h2.Protocols.SetUnencryptedHTTP2(true)
	return &noiseServer{
		http:  h2,
		done:  s.ctx.Done(),
		conns: make(chan *controlConn),
	}
}

// noiseHandler answers what machines ask inside their connections.
func (s *Server) noiseHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machine/register", s.serveRegister)
	mux.HandleFunc("POST /machine/map", s.serveMap)
	mux.HandleFunc("HEAD /machine/pong", s.servePong)
	mux.HandleFunc("POST /machine/path", s.servePath)
	mux.HandleFunc("POST /machine/certificate", s.serveCertificate)
	mux.HandleFunc("POST /machine/set-dns", s.serveSetDNS)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.work.begin() { // counted, because it may outlive its connection
			panic(http.ErrAbortHandler)
		}
		defer s.work.end()
		if !s.wait(r) {
			return
		}
		mux.ServeHTTP(w, r)
		// What is left to be written now waits for the machine to allow it.
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(frameTimeout))
	})
}

// wait holds up a request of a machine that sends too many. It reports false
// when the request is over.
func (s *Server) wait(r *http.Request) bool {
	d := s.conns.pace(connOf(r).Peer(), time.Now())
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// readJSON reads the body of a request into v. It answers the request when that
// fails.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request body: %.200v", err), http.StatusBadRequest)
		return false
	}
	rc.SetReadDeadline(time.Time{})
	return true
}
