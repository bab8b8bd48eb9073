// Package web is a small server of HTTP/1.1, for programs that are loaded by web
// pages: that of net/http brings HTTP/2 with it, and a tenth of a megabyte.
//
// Requests are taken by whoever wants to answer them, one after the other on each
// connection, whose bodies are streams in both directions.
package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
)

const (
	maxConns    = 256
	maxHead     = 64 << 10         // bytes of a request's head
	headTimeout = 10 * time.Second // for it to come, once it has begun or the connection is new, or for the rest of a body that nobody wants
	idleTimeout = 2 * time.Minute  // until the next one begins
)

// Server is a web server. Close ends it.
type Server struct {
	exchanges chan *Exchange
	ctx       context.Context
	cancel    context.CancelFunc
	served    chan struct{} // closed when nothing runs any more
}

// Serve takes requests from a listener, which it closes in the end.
func Serve(ln net.Listener) *Server {
	s := &Server{exchanges: make(chan *Exchange), served: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.served)
		group := serve.Group{Max: maxConns}
		group.Serve(s.ctx, ln, s.converse)
		s.cancel() // the listener has failed
	}()
	return s
}

// Accept returns the next request. Its error is [net.ErrClosed].
func (s *Server) Accept() (*Exchange, error) {
	select {
	case e := <-s.exchanges:
		return e, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends all connections.
func (s *Server) Close() error {
	s.cancel()
	<-s.served
	return nil
}

// converse answers the requests of a connection.
func (s *Server) converse(ctx context.Context, nc *serve.Conn) {
	limited := &io.LimitedReader{R: nc}
	r, w := bufio.NewReader(limited), bufio.NewWriter(nc)
	for patience := headTimeout; ; patience = idleTimeout {
		limited.N = maxHead
		nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := r.Peek(1); err != nil {
			return
		}
		nc.SetReadDeadline(time.Now().Add(headTimeout))
		req, err := http.ReadRequest(r)
		if err != nil {
			refuse(w)
			return
		}
		nc.SetReadDeadline(time.Time{})
		nc.Established()
		limited.N = math.MaxInt64
		req.RemoteAddr = nc.RemoteAddr().String()
		if req.Host == "" && !req.ProtoAtLeast(1, 1) {
			req.Host = nc.LocalAddr().String() // old clients do not say
		}
		if !s.exchange(ctx, req, w) {
			return
		}
		nc.SetReadDeadline(time.Now().Add(headTimeout))
		if !drained(req.Body) {
			return
		}
	}
}

func refuse(w *bufio.Writer) {
	io.WriteString(w, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	w.Flush()
}

// exchange has a request answered. It reports whether another may follow.
func (s *Server) exchange(ctx context.Context, req *http.Request, w *bufio.Writer) bool {
	if req.Host == "" {
		refuse(w)
		return false
	}
	if req.Header.Get("Expect") != "" {
		io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n")
		if w.Flush() != nil {
			return false
		}
	}
	e := newExchange(req)
	defer e.end()
	select {
	case s.exchanges <- e:
	case <-ctx.Done():
		return false
	}
	defer context.AfterFunc(ctx, e.end)()
	<-e.decided
	if e.head == nil {
		return false
	}
	return e.head.write(w, req, e.body)
}

// maxDrain is how much of a request's body is read that nobody wanted, so that
// the connection can be used again.
const maxDrain = 64 << 10

func drained(body io.ReadCloser) bool {
	_, err := io.CopyN(io.Discard, body, maxDrain)
	return err == io.EOF
}

var errAnswered = errors.New("the request is answered")
