package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall/js"

	"github.com/meshnet-go/meshnet"
)

// A page is what the worker calls: a node, and what has been opened through it.
type page struct {
	server *meshnet.Server // nil until up
	client *http.Client
	cancel context.CancelFunc // of what follows the node

	mu     sync.Mutex
	last   int
	opened map[int]closer
}

type closer interface{ Close() error }

var errArguments = errors.New("the arguments make no sense")

// call does what a method of the page's says.
func (p *page) call(method string, args []js.Value) (any, error) {
	if method == "up" && len(args) == 1 {
		return p.up(args[0])
	}
	if p.server == nil {
		return nil, errors.New("the node is not up")
	}
	switch {
	case len(args) == 0 && method == "status":
		return describe(p.server.Status()), nil
	case len(args) == 0:
		return nil, errArguments
	case args[0].Type() == js.TypeNumber:
		return p.callOf(args[0].Int(), method, args[1:])
	case method == "fetch":
		return p.fetch(args[0])
	case args[0].Type() != js.TypeString:
		return nil, errArguments
	}
	return p.callNamed(method, args)
}

// callNamed is call for methods whose arguments are strings.
func (p *page) callNamed(method string, args []js.Value) (any, error) {
	first, second := args[0].String(), ""
	if len(args) > 1 {
		second = args[1].String()
	}
	switch method {
	case "dial":
		return p.dial(first, second)
	case "listen":
		return p.listen(first, second)
	case "serve":
		return p.serve(first)
	case "ping":
		return p.ping(first)
	case "whoIs":
		return p.whoIs(first)
	}
	return nil, fmt.Errorf("there is no method %q", method)
}

// callOf is call for methods of what was opened.
func (p *page) callOf(id int, method string, args []js.Value) (any, error) {
	if method == "close" {
		return nil, p.close(id)
	}
	p.mu.Lock()
	what := p.opened[id]
	p.mu.Unlock()
	switch {
	case what == nil && method == "accept":
		return nil, nil
	case what == nil:
		return nil, net.ErrClosed
	}
	switch what := what.(type) {
	case acceptor:
		if method == "accept" {
			return what.accept(p)
		}
	case stream:
		return callStream(what, method, args)
	}
	return nil, fmt.Errorf("there is no method %q", method)
}

// open gives a number to what was opened.
func (p *page) open(what closer) (id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened == nil {
		p.opened = make(map[int]closer)
	}
	p.last++
	p.opened[p.last] = what
	return p.last
}

func (p *page) close(id int) error {
	if id == 0 {
		p.cancel()
		return p.server.Close()
	}
	p.mu.Lock()
	what := p.opened[id]
	delete(p.opened, id)
	p.mu.Unlock()
	if what == nil {
		return nil
	}
	return what.Close()
}
