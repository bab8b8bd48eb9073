// Package serve runs a function for every connection that listeners accept:
// bounded in number, and ended together.
package serve

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

var (
	// ErrClosed says that the Group has been shut down.
	ErrClosed = errors.New("server closed")
	// ErrFull says that the Group has as many connections as it may have.
	ErrFull = errors.New("too many connections")
)

// A Group is the connections that are served at this moment. The zero value is
// ready to use. Max and Logger must not change once it is in use.
type Group struct {
	// Max bounds the connections served at once; 0 is no bound. A full Group
	// gives the place of the connection that has been in its handshake for the
	// longest time to a newcomer, so that clients who only open connections do
	// not keep others out.
	Max int
	// Logger may be nil.
	Logger *slog.Logger

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*Conn]bool // those that have a place
	young     list.List      // of *Conn: those in their handshake, oldest first
	running   int            // handlers; more than conns while evicted ones return
	closed    bool           // no listener and no connection is taken any more
	idle      chan struct{}  // made by Shutdown, closed when running is 0
	refusing  bool           // the last newcomer found no place
}

// Serve accepts connections and runs handle for each in a goroutine of its own,
// closing the connection after it. It closes ln before it returns:
//
//   - with ctx's cause when ctx has ended. All connections that came from ln
//     are closed then, and their handlers have returned.
//   - with [ErrClosed] after [Group.Shutdown], which sees to the connections.
//   - with the listener's error when that has failed for good. The connections
//     go on.
func (g *Group) Serve(ctx context.Context, ln net.Listener, handle func(context.Context, *Conn)) error {
	defer ln.Close()
	if !g.enlist(ln) {
		return ErrClosed
	}
	defer g.delist(ln)
	defer context.AfterFunc(ctx, func() { ln.Close() })()

	var handlers sync.WaitGroup
	err := g.accept(ctx, ln, func(nc net.Conn) {
		handlers.Go(func() {
			g.Run(ctx, nc, handle)
		})
	})
	switch {
	case ctx.Err() != nil:
		handlers.Wait()
		return context.Cause(ctx)
	case g.isClosed():
		return ErrClosed
	}
	return err
}

// Bounds of the pause after an error of Accept that will pass, such as having
// no file descriptor left. The same as net/http's.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// accept hands the connections of ln to take, until ln has failed for good.
func (g *Group) accept(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			take(nc)
			continue
		}
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() || g.isClosed() {
			return err
		}
		pause = min(max(2*pause, minPause), maxPause)
		g.log().Warn("accepting a connection", "err", err, "retry", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// Run serves one connection that came by another way than Serve: it runs
// handle, closes nc and returns nil; or it closes nc at once and returns
// [ErrClosed] or [ErrFull]. The context of handle ends when the connection is
// closed by the Group, or with ctx, which also closes the connection.
func (g *Group) Run(ctx context.Context, nc net.Conn, handle func(context.Context, *Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	c := &Conn{Conn: nc, group: g, cancel: cancel}
	defer c.end()
	if err := g.add(c); err != nil {
		return err
	}
	defer g.remove(c)
	defer context.AfterFunc(ctx, c.abort)()
	handle(ctx, c)
	return nil
}

// Shutdown stops accepting, closes the connections that are still in their
// handshake, and waits for the others to end. When ctx ends before they do,
// they are closed, and Shutdown returns ctx's error after their handlers have
// returned. A Group that is shut down stays so.
func (g *Group) Shutdown(ctx context.Context) error {
	idle := g.close()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	open := g.conns
	g.conns = nil
	g.mu.Unlock()
	for c := range open {
		c.abort()
	}
	<-idle
	return context.Cause(ctx)
}

// close takes no more, ends what is in its handshake, and returns a channel
// that is closed when no handler runs any more.
func (g *Group) close() (idle <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		g.idle = make(chan struct{})
		if g.running == 0 {
			close(g.idle)
		}
	}
	for ln := range g.listeners {
		ln.Close()
	}
	for g.young.Len() > 0 {
		g.evictOldest()
	}
	return g.idle
}

func (g *Group) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *Group) enlist(ln net.Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if g.listeners == nil {
		g.listeners = make(map[net.Listener]bool)
	}
	g.listeners[ln] = true
	return true
}

func (g *Group) delist(ln net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.listeners, ln)
}

// add gives c a place.
func (g *Group) add(c *Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	// Handlers whose connection was taken away may still be at something, such
	// as a password: they are bounded too.
	if g.Max > 0 && (g.running >= 2*g.Max || len(g.conns) >= g.Max && !g.evictOldest()) {
		g.refuse(c)
		return ErrFull
	}
	g.refusing = false
	if g.conns == nil {
		g.conns = make(map[*Conn]bool)
	}
	g.conns[c] = true
	c.place = g.young.PushBack(c)
	g.running++
	return nil
}

// refuse tells the log that there is no place, once for all that are refused in
// a row. g.mu is held.
func (g *Group) refuse(c *Conn) {
	if !g.refusing {
		g.log().Warn("too many connections: refusing more", "max", g.Max, "from", c.RemoteAddr())
	}
	g.refusing = true
}

func (g *Group) remove(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.establish(c)
	delete(g.conns, c)
	g.running--
	if g.closed && g.running == 0 {
		close(g.idle)
	}
}

// establish takes c off the list of those in their handshake. g.mu is held.
func (g *Group) establish(c *Conn) {
	if c.place != nil {
		g.young.Remove(c.place)
		c.place = nil
	}
}

// evictOldest takes the place of the connection that has been in its handshake
// for the longest time, if there is one. g.mu is held.
func (g *Group) evictOldest() bool {
	oldest := g.young.Front()
	if oldest == nil {
		return false
	}
	c := oldest.Value.(*Conn)
	g.establish(c)
	delete(g.conns, c)
	// Closing may wait, for what a TLS connection has to say, say.
	go c.abort()
	return true
}

func (g *Group) log() *slog.Logger {
	if g.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Logger
}
