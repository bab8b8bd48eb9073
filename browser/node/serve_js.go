package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall/js"
	"time"
)

// A web is a web server of the page's. It has the page answer requests.
type web struct {
	http     *http.Server
	requests chan *served
	ctx      context.Context // ends with it
	cancel   context.CancelFunc
}

// headTimeout is how long a client may take for the head of a request.
const headTimeout = 10 * time.Second

func (p *page) serve(addr string) (any, error) {
	ln, err := p.server.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &web{requests: make(chan *served)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.http = &http.Server{Handler: w, ReadHeaderTimeout: headTimeout}
	go w.http.Serve(ln)
	return map[string]any{"id": p.open(w), "local": ln.Addr().String()}, nil
}

// ServeHTTP hands a request to the page, and waits until it has answered.
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s := &served{w: rw, r: r, ended: make(chan struct{})}
	select {
	case w.requests <- s:
	case <-r.Context().Done():
		return
	case <-w.ctx.Done():
		return
	}
	select {
	case <-s.ended:
	case <-r.Context().Done():
	case <-w.ctx.Done():
	}
	if !s.finish() {
		panic(http.ErrAbortHandler) // what the client has is not all of it
	}
}

func (w *web) accept(p *page) (any, error) {
	select {
	case s := <-w.requests:
		return map[string]any{
			"id":      p.open(s),
			"method":  s.r.Method,
			"url":     "http://" + s.r.Host + s.r.URL.RequestURI(),
			"headers": headerPairs(s.r.Header),
			"remote":  s.r.RemoteAddr,
			"hasBody": s.r.ContentLength != 0,
		}, nil
	case <-w.ctx.Done():
		return nil, nil
	}
}

func (w *web) Close() error {
	w.cancel()
	return w.http.Close()
}

// A served request is one that the page answers: it reads the request's body
// and writes the response's.
type served struct {
	r     *http.Request
	ended chan struct{} // closed when the page is done with it

	mu    sync.Mutex
	w     http.ResponseWriter // nil when the handler has returned
	state servedState
}

type servedState int

const (
	unanswered servedState = iota
	answering              // the head is written
	answered               // all is
	abandoned              // no more comes
)

// end says that the page is done, and how. s.mu is held.
func (s *served) end(how servedState) {
	if s.state != answered && s.state != abandoned {
		s.state = how
		close(s.ended)
	}
}

// finish lets go of the writer. It reports whether all has been said.
func (s *served) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.state == answered
	s.end(abandoned)
	s.w = nil
	return all
}

// call implements exchange.
func (s *served) call(method string, args []js.Value) (any, error) {
	if method != "respond" || len(args) != 1 {
		return nil, errArguments
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := args[0].Get("status")
	switch {
	case s.w == nil:
		return nil, net.ErrClosed
	case s.state != unanswered:
		return nil, errors.New("the request is answered already")
	case status.Type() != js.TypeNumber || status.Int() < 200 || status.Int() > 599:
		return nil, errArguments
	}
	setHeader(s.w.Header(), args[0].Get("headers"))
	s.w.WriteHeader(status.Int())
	s.state = answering
	return nil, nil
}

func (s *served) Read(p []byte) (int, error) { return s.r.Body.Read(p) }

func (s *served) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil || s.state != answering {
		return 0, io.ErrClosedPipe
	}
	n, err := s.w.Write(p)
	if err == nil {
		err = http.NewResponseController(s.w).Flush() // a page streams
	}
	return n, err
}

// CloseWrite ends the answer.
func (s *served) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == answering {
		s.end(answered)
	}
	return nil
}

// Close breaks the answer off, if it is not complete.
func (s *served) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(abandoned)
	return nil
}
