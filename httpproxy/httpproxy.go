// Package httpproxy is an HTTP proxy over any dial function. It opens tunnels
// (CONNECT, RFC 9110 section 9.3.6) and forwards requests whose target is an
// absolute URI (RFC 9112 section 3.2.2, http only). A SOCKS server may have the
// same port:
//
//	first byte   goes to
//	0x04, 0x05   Server.SOCKS
//	any other    HTTP:  CONNECT host:port          tunnel
//	                    GET http://host/path       forwarded
//	                    GET /path                  Server.Handler
//
// # Who can reach it
//
// Every program of the machine can connect to a port on loopback, and so can
// every web page in a browser on it. A page can send requests of the last form
// only: a request for a tunnel or with an absolute URI comes from a client that
// was told that this is a proxy. The page gets what Handler shows and no
// further. Against other programs, and other users of the machine, there is
// Auth.
//
// # What is forwarded
//
// Requests and answers pass as they are, but for the headers that are meant for
// one hop, among them Proxy-Authorization, and but for request trailers, which
// are lost. A client that ends its direction before the answer to a forwarded
// request has come gets none, as net/http takes that for leaving; tunnels keep
// half-closes. None is added: not X-Forwarded-For,
// not User-Agent, and not Via either, which RFC 9110 wants, because servers
// such as nginx do not compress what they answer to requests that have it. A
// loop cannot come from that: what was forwarded has a path for its target, and
// such a request is never forwarded again. Each client connection has its own connections to
// the servers behind, so that nothing one client sends ends up in the answer to
// another.
//
// # Why another one
//
// The parsing, forwarding and streaming are net/http's; this package adds what
// a proxy owes its surroundings: a bound on connections, a port shared with
// SOCKS, and an end of all it has started. elazarl/goproxy, at v1.8.3, is made
// to look into traffic and to rewrite it; it drops what a client sends right
// behind its CONNECT, and leaves tunnels to goroutines that no Shutdown waits
// for.
package httpproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
)

const (
	defaultHandshakeTimeout = 10 * time.Second
	defaultDialTimeout      = 30 * time.Second
	defaultKeepAlive        = 2 * time.Minute
	defaultMaxConns         = 4096

	maxRequestHead = 64 << 10 // bytes that a stranger can make us keep
)

// ErrServerClosed is what [Server.Serve] returns after [Server.Shutdown].
var ErrServerClosed = errors.New("httpproxy: server closed")

// A Server is an HTTP proxy. Dial must be set; all else is optional. The fields
// must not change once Serve has been called, and a Server must not be copied.
type Server struct {
	// Dial connects to a target. The network is "tcp"; the address is host:port,
	// the host an IP address or a name as the client sent it. ctx ends after
	// DialTimeout and when the client leaves; it does not bound the connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Auth decides whether user and password (Basic, in Proxy-Authorization) may
	// use the proxy. It should take the same time whatever they are. Nil asks
	// for no password.
	Auth func(user, password string) bool

	// Allow decides about each request after Auth. An error is answered with 403
	// and logged, not sent. Nil allows everything.
	Allow func(ctx context.Context, r *Request) error

	// Handler answers requests to the proxy itself, such as for a PAC file. They
	// need no password, and anybody who can connect can make them. Connections
	// that have made no others are the first to go when MaxConns is reached and
	// at Shutdown, if there is Auth; and one that Handler hijacks ends when it
	// returns. Nil is a short text that says that this is a proxy.
	Handler http.Handler

	// SOCKS serves connections that begin with byte 4 or 5, which is still to be
	// read from them, until it returns. ctx ends when the connection must. The
	// ServeConn method of a socks5.Server fits. Another function should call
	// conn's method Established, with neither argument nor result, when the
	// client has proven itself: until then the connection is the first to go at
	// MaxConns and at Shutdown. Nil closes them.
	SOCKS func(ctx context.Context, conn net.Conn)

	// Anonymous allows Serve to use a listener that others than this machine
	// reach, although there is no Auth: when the network itself decides who
	// comes, say.
	Anonymous bool

	// HandshakeTimeout bounds the wait for the first byte of a connection and
	// for the whole head of each request. 0 means 10 seconds.
	HandshakeTimeout time.Duration

	// DialTimeout bounds a call of Dial. 0 means 30 seconds.
	DialTimeout time.Duration

	// IdleTimeout ends tunnels in which no byte has moved for so long, and
	// connections that wait for their next request. 0 means never for tunnels,
	// and 2 minutes for the others.
	IdleTimeout time.Duration

	// MaxConns bounds the connections from clients, SOCKS included. When there
	// are so many, a newcomer takes the place of the oldest that has not made an
	// authorised request; when all have, it is turned away. 0 means 4096.
	MaxConns int

	// Logger gets a line for each request and each tunnel when it has ended, on
	// the debug level. Nil is silent.
	Logger *slog.Logger

	setup sync.Once // of what is below
	log   *slog.Logger
	group serve.Group
	web   http.Server
}

// Serve accepts connections from ln and serves them until ctx ends, and closes
// ln. It then closes the connections, waits for what served them and returns
// ctx's cause; after [Server.Shutdown] it returns [ErrServerClosed] at once.
// When ln fails it returns that error, and the connections go on.
//
// It refuses to be an open proxy: a listener that is reached from beyond this
// machine needs Auth or Anonymous. Loopback, Unix and in-memory listeners do
// not.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.check(ln.Addr()); err != nil {
		ln.Close()
		return err
	}
	s.setup.Do(s.prepare)
	err := s.group.Serve(ctx, ln, s.serveConn)
	if errors.Is(err, serve.ErrClosed) {
		return ErrServerClosed
	}
	return err
}

// Shutdown stops accepting and closes the connections that do nothing. It waits
// for running requests and tunnels; when ctx ends before they do, they are
// closed, and Shutdown returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.setup.Do(s.prepare)
	s.web.SetKeepAlivesEnabled(false) // closes idle connections, and running ones after their request
	return s.group.Shutdown(ctx)
}

// check says why the Server cannot serve a listener on addr.
func (s *Server) check(addr net.Addr) error {
	switch {
	case s.Dial == nil:
		return errors.New("httpproxy: Server.Dial is missing")
	case s.Auth == nil && !s.Anonymous && !serve.Local(addr):
		return fmt.Errorf("httpproxy: refusing to serve on %v, which is reached from beyond this machine, without a password: set Auth, or Anonymous", addr)
	}
	return nil
}

func (s *Server) prepare() {
	s.log = s.Logger
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.group.Max = cmp.Or(s.MaxConns, defaultMaxConns)
	s.group.Logger = s.log
	s.web.Handler = http.HandlerFunc(s.serveRequest)
	s.web.DisableGeneralOptionsHandler = true // "OPTIONS *" is Handler's
	s.web.ReadHeaderTimeout = s.handshakeTimeout()
	s.web.IdleTimeout = cmp.Or(s.IdleTimeout, defaultKeepAlive)
	s.web.MaxHeaderBytes = maxRequestHead
	s.web.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	s.web.Protocols = http1()
	s.web.BaseContext = baseContext
	s.web.ConnState = connState
}

func (s *Server) handshakeTimeout() time.Duration {
	return cmp.Or(s.HandshakeTimeout, defaultHandshakeTimeout)
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
