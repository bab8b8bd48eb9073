package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
	"github.com/meshnet-go/meshnet/internal/splice"
)

// A forward is what -forward and -expose ask for: connections to one address
// are carried to another one.
type forward struct {
	listen string // HOST:PORT of this machine, or a port of the node in the mesh
	target string // HOST:PORT, in the mesh or on this machine
}

// String is for messages.
func (f forward) String() string { return f.listen + "=" + f.target }

// parseForward reads a value of -forward, LOCAL=TARGET.
func parseForward(text string) (forward, error) {
	local, target, ok := strings.Cut(text, "=")
	if !ok {
		return forward{}, errors.New("want LOCAL=TARGET, such as 5432=db:5432")
	}
	listen, err := parseLocal(local)
	if err != nil {
		return forward{}, err
	}
	_, samePort, _ := net.SplitHostPort(listen)
	if samePort == "0" {
		samePort = "" // any port here is not any port there
	}
	target, err = parseTarget(target, "", samePort)
	return forward{listen, target}, err
}

// parseExpose reads a value of -expose, MESHPORT=TARGET.
func parseExpose(text string) (forward, error) {
	port, target, ok := strings.Cut(text, "=")
	if !ok {
		return forward{}, errors.New("want MESHPORT=TARGET, such as 80=127.0.0.1:8080")
	}
	if !isPort(port) {
		return forward{}, fmt.Errorf("%q is no port", port)
	}
	target, err := parseTarget(target, thisMachine, port)
	return forward{port, target}, err
}

const (
	maxForwarded       = 4096 // connections at once of each forward
	forwardDialTimeout = 30 * time.Second
)

// A forwarder is a forward at work.
type forwarder struct {
	target string
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	log    *slog.Logger
	group  serve.Group

	failing atomic.Bool // the target could not be reached the last time
}

func newForwarder(target string, dial func(ctx context.Context, network, address string) (net.Conn, error), log *slog.Logger) *forwarder {
	f := &forwarder{target: target, dial: dial, log: log.With("target", target)}
	f.group.Max, f.group.Logger = maxForwarded, f.log
	return f
}

// Serve carries the connections of ln until ctx ends or Shutdown is called.
func (f *forwarder) Serve(ctx context.Context, ln net.Listener) error {
	return f.group.Serve(ctx, ln, f.carry)
}

// Shutdown waits for the connections to end, and ends them when ctx does.
func (f *forwarder) Shutdown(ctx context.Context) error { return f.group.Shutdown(ctx) }

// carry connects to the target and carries bytes until both directions have
// ended.
func (f *forwarder) carry(ctx context.Context, c *serve.Conn) {
	begin := time.Now()
	target, err := f.connect(ctx)
	if err != nil {
		f.reached(false, err)
		reset(c.Conn)
		return
	}
	f.reached(true, nil)
	c.Established()
	sent, received, err := splice.Conns(ctx, c, target, 0)
	f.log.Debug("forwarded", "client", c.RemoteAddr(), "sent", sent, "received", received, "took", time.Since(begin), "err", err)
}

func (f *forwarder) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardDialTimeout)
	defer cancel()
	return f.dial(ctx, "tcp", f.target)
}

// reached tells the log when the target can no longer be reached, and when it
// can again: not for each connection, of which others decide how many there are.
func (f *forwarder) reached(ok bool, err error) {
	switch was := !f.failing.Swap(!ok); {
	case was && !ok:
		f.log.Warn("cannot reach the target of a forward", "err", err)
	case !was && ok:
		f.log.Info("the target of a forward is reached again")
	case !ok:
		f.log.Debug("still cannot reach the target of a forward", "err", err)
	}
}

// reset makes the client see an error at the close that follows, rather than
// an answer that is empty.
func reset(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		tcp.SetLinger(0)
	}
}
