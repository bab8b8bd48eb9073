package web

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// An Exchange is a request and the answer to it. It is read from for the
// request's body, and written to, after [Exchange.Respond], for the response's.
type Exchange struct {
	Request *http.Request

	decided chan struct{}  // closed when there is a head, or will be none
	body    *io.PipeReader // of the response
	writer  *io.PipeWriter

	mu   sync.Mutex
	head *head // of the response; it does not change any more when decided is closed
	over bool
}

func newExchange(req *http.Request) *Exchange {
	r, w := io.Pipe()
	return &Exchange{Request: req, decided: make(chan struct{}), body: r, writer: w}
}

// URL is what the client asks for, as a page understands it. OPTIONS of the whole
// server is of its root.
func (e *Exchange) URL() string {
	at := url.URL{Scheme: "http", Host: e.Request.Host, Path: e.Request.URL.Path, RawPath: e.Request.URL.RawPath, RawQuery: e.Request.URL.RawQuery}
	if at.Path == "*" {
		at.Path = "/"
	}
	return at.String()
}

// Respond sends the head of the answer. What length the body has may be in the
// header.
func (e *Exchange) Respond(status int, header http.Header) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.over:
		return context.Canceled
	case e.head != nil:
		return errAnswered
	}
	e.head = &head{status, header}
	close(e.decided)
	return nil
}

func (e *Exchange) Read(p []byte) (int, error) { return e.Request.Body.Read(p) }

// Write sends a part of the answer's body at once.
func (e *Exchange) Write(p []byte) (int, error) { return e.writer.Write(p) }

// CloseWrite ends the answer.
func (e *Exchange) CloseWrite() error { return e.writer.Close() }

// Close breaks off an answer that is not complete, and with it the connection.
func (e *Exchange) Close() error {
	e.end()
	return nil
}

// end lets go of everybody who waits.
func (e *Exchange) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.over = true
		if e.head == nil {
			close(e.decided)
		}
		e.writer.CloseWithError(context.Canceled) // if it is open still
	}
}
