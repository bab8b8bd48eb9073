package httpproxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
)

// Bounds of what a client's connection keeps open behind it.
const (
	maxIdleOrigins      = 4
	originIdleTimeout   = 90 * time.Second
	maxResponseHead     = 256 << 10
	expectContinueLimit = time.Second // after that the body goes without having been asked for
)

// serveConn looks at the first byte and lets SOCKS or HTTP have the connection.
func (s *Server) serveConn(ctx context.Context, sc *serve.Conn) {
	sc.SetReadDeadline(time.Now().Add(s.handshakeTimeout()))
	first, err := sc.Peek()
	if err != nil {
		s.log.Debug("client sent nothing", "client", sc.RemoteAddr(), "err", err)
		return
	}
	sc.SetReadDeadline(time.Time{})
	if first == 4 || first == 5 {
		if s.SOCKS != nil {
			s.SOCKS(ctx, sc)
		}
		return
	}
	s.serveHTTP(ctx, sc)
}

// serveHTTP lets net/http serve a connection, and returns when it has ended.
func (s *Server) serveHTTP(ctx context.Context, sc *serve.Conn) {
	c := &conn{Conn: sc, server: s, ctx: ctx, ended: make(chan struct{})}
	s.web.Serve(&single{conn: c})
	<-c.ended
}

// A conn is a client's connection that speaks HTTP. Its requests come one after
// another.
type conn struct {
	*serve.Conn
	server   *Server
	ctx      context.Context           // ends with the connection
	origins  *http.Transport           // made when first needed, by the request that runs
	proven   atomic.Bool               // an authorised request has come
	lastRead atomic.Pointer[time.Time] // as endReading has set it
	hijacked atomic.Bool
	ended    chan struct{} // closed when net/http has done with it
}

// Established is for the first authorised request.
func (c *conn) Established() {
	if !c.proven.Swap(true) {
		c.SetWriteDeadline(time.Time{})
		c.Conn.Established()
	}
}

// Write gives a client that has proven nothing yet a limited time to take what
// it is told, by net/http too.
func (c *conn) Write(p []byte) (int, error) {
	if !c.proven.Load() {
		c.SetWriteDeadline(time.Now().Add(c.server.handshakeTimeout()))
	}
	return c.Conn.Write(p)
}

// endReading bounds all reading to come. It is for a connection that will close
// after a request that has been answered before its end: net/http reads the
// rest, so that the client gets to the answer, but for as long as it takes.
func (c *conn) endReading(t time.Time) error {
	c.lastRead.Store(&t)
	return c.SetReadDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if last := c.lastRead.Load(); last != nil && (t.IsZero() || t.After(*last)) {
		t = *last
	}
	return c.Conn.SetReadDeadline(t)
}

// A single is a listener that accepts one connection. The connection outlives
// it: Serve of an http.Server returns at once, with the connection's goroutine
// started. That spares a goroutine that hands connections over, and its end.
type single struct {
	conn  *conn
	taken bool
}

func (l *single) Accept() (net.Conn, error) {
	if l.taken {
		return nil, io.EOF
	}
	l.taken = true
	return l.conn, nil
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

type connKey struct{}

// baseContext makes the context of all requests of a connection.
func baseContext(ln net.Listener) context.Context {
	c := ln.(*single).conn
	return context.WithValue(c.ctx, connKey{}, c)
}

// connState hears from the http.Server what becomes of a connection. A hijacked
// one is the handler's, and ends with it.
func connState(nc net.Conn, state http.ConnState) {
	c := nc.(*conn)
	switch state {
	case http.StateHijacked:
		c.hijacked.Store(true)
	case http.StateClosed:
		close(c.ended)
	}
}

// transport returns what forwards the connection's requests.
func (c *conn) transport() *http.Transport {
	if c.origins == nil {
		c.origins = &http.Transport{
			DialContext:            c.dialOrigin,
			DisableCompression:     true, // bodies pass as they are
			MaxIdleConns:           maxIdleOrigins,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        originIdleTimeout,
			ExpectContinueTimeout:  expectContinueLimit,
			MaxResponseHeaderBytes: maxResponseHead,
			Protocols:              http1(),
		}
	}
	return c.origins
}
