package main

import (
	"net/http"
	"syscall/js"

	"github.com/meshnet-go/meshnet/browser/internal/web"
)

// A site is a web server whose requests the page answers.
type site struct{ *web.Server }

func (p *page) serve(addr string) (any, error) {
	ln, err := p.server.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": p.open(site{web.Serve(ln)}), "local": ln.Addr().String()}, nil
}

// accept implements acceptor.
func (s site) accept(p *page) (any, error) {
	e, err := s.Accept()
	if err != nil { // it is closed
		return nil, nil
	}
	r := e.Request
	return map[string]any{
		"id":      p.open(answer{e}),
		"method":  r.Method,
		"url":     e.URL(),
		"headers": headerPairs(r.Header),
		"remote":  r.RemoteAddr,
		"hasBody": r.ContentLength != 0,
	}, nil
}

// An answer is given by the page: the head by a call, the body in what it writes.
type answer struct{ *web.Exchange }

// call implements exchange.
func (a answer) call(method string, args []js.Value) (any, error) {
	if method != "respond" || len(args) != 1 || args[0].Type() != js.TypeObject {
		return nil, errArguments
	}
	status := args[0].Get("status")
	if status.Type() != js.TypeNumber || status.Int() < 200 || status.Int() > 599 { // as a Response has
		return nil, errArguments
	}
	header := make(http.Header)
	setHeader(header, args[0].Get("headers"))
	return nil, a.Respond(status.Int(), header)
}
