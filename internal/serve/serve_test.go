package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A memListener hands over the connections that dial makes.
type memListener struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
}

func listen() *memListener {
	return &memListener{make(chan net.Conn), make(chan error), make(chan struct{})}
}

func (l *memListener) dial(t *testing.T) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	l.conns <- server
	return client
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// serving runs g on a new listener and returns that, with what Serve will
// return.
func serving(ctx context.Context, g *Group, handle func(context.Context, *Conn)) (*memListener, <-chan error) {
	ln, done := listen(), make(chan error, 1)
	go func() { done <- g.Serve(ctx, ln, handle) }()
	return ln, done
}

// hold is a handler that lives until its connection ends.
func hold(_ context.Context, c *Conn) { io.Copy(io.Discard, c) }

// established is hold after a handshake of one byte.
func established(ctx context.Context, c *Conn) {
	if _, err := c.Peek(); err == nil {
		c.Established()
		hold(ctx, c)
	}
}

// open says whether the far side still reads.
func open(c net.Conn) bool {
	_, err := c.Write([]byte{1})
	return err == nil
}

func TestFullGroupPrefersNewcomersToHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Group{Max: 3}
		ctx, stop := context.WithCancel(t.Context())
		ln, done := serving(ctx, g, established)
		old := ln.dial(t)
		open(old)
		synctest.Wait()
		loris1 := ln.dial(t)
		synctest.Wait()
		loris2 := ln.dial(t)
		synctest.Wait()
		newcomer := ln.dial(t)
		synctest.Wait()
		if open(loris1) {
			t.Error("the connection longest in its handshake kept its place")
		}
		for name, c := range map[string]net.Conn{"established": old, "younger": loris2, "new": newcomer} {
			if !open(c) {
				t.Errorf("the %s connection was closed", name)
			}
		}
		synctest.Wait()
		if late := ln.dial(t); open(late) {
			t.Error("a newcomer took a place although all are established")
		}
		old.Close()
		synctest.Wait()
		if late := ln.dial(t); !open(late) {
			t.Error("the place of a connection that ended is not given away")
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v after its context ended", err)
		}
	})
}

func TestContextEndsConnectionsAndHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		var handlers int
		ln, done := serving(ctx, new(Group), func(ctx context.Context, c *Conn) {
			established(ctx, c)
			<-ctx.Done()
			handlers++
		})
		c := ln.dial(t)
		open(c)
		why := errors.New("enough")
		stop(why)
		if err := <-done; err != why {
			t.Errorf("Serve returned %v, want the cause", err)
		}
		if handlers != 1 {
			t.Error("Serve returned before the handler")
		}
		if open(c) {
			t.Error("the connection is still open")
		}
	})
}

func TestShutdownWaitsForTheEstablished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Group)
		ln, done := serving(t.Context(), g, established)
		busy, young := ln.dial(t), ln.dial(t)
		open(busy)
		synctest.Wait()
		shut := make(chan error, 1)
		go func() { shut <- g.Shutdown(t.Context()) }()
		if err := <-done; err != ErrClosed {
			t.Errorf("Serve returned %v", err)
		}
		synctest.Wait()
		if open(young) {
			t.Error("a connection in its handshake outlived Shutdown")
		}
		if !open(busy) {
			t.Error("Shutdown closed an established connection")
		}
		select {
		case err := <-shut:
			t.Errorf("Shutdown returned %v with a connection open", err)
		default:
		}
		busy.Close()
		if err := <-shut; err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if err := g.Serve(t.Context(), listen(), hold); err != ErrClosed {
			t.Errorf("Serve after Shutdown returned %v", err)
		}
		late, server := net.Pipe()
		if err := g.Run(t.Context(), server, hold); err != ErrClosed || open(late) {
			t.Errorf("Run after Shutdown returned %v", err)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("a second Shutdown returned %v", err)
		}
	})
}

func TestShutdownEndsWhatOutlastsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Group)
		ln, done := serving(t.Context(), g, established)
		c := ln.dial(t)
		open(c)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		if open(c) {
			t.Error("the connection outlived Shutdown")
		}
		<-done
	})
}

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, done := serving(t.Context(), new(Group), hold)
		begin := time.Now()
		for range 3 {
			ln.errs <- syscall.EMFILE
		}
		c := ln.dial(t)
		if !open(c) {
			t.Error("no connection after an error that passes")
		}
		if took := time.Since(begin); took != (5+10+20)*time.Millisecond {
			t.Errorf("the errors cost %v", took)
		}
		broken := errors.New("broken")
		ln.errs <- broken
		if err := <-done; err != broken {
			t.Errorf("Serve returned %v", err)
		}
		if !open(c) {
			t.Error("a failed listener took its connection along")
		}
		c.Close()
	})
}

func TestPeekKeepsTheByte(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		client.Write([]byte("abc"))
		client.Close()
	}()
	var first byte
	var all []byte
	new(Group).Run(t.Context(), server, func(_ context.Context, c *Conn) {
		first, _ = c.Peek()
		if again, _ := c.Peek(); again != first {
			t.Errorf("peeked %q, then %q", first, again)
		}
		all, _ = io.ReadAll(c)
	})
	if first != 'a' || string(all) != "abc" {
		t.Errorf("peeked %q of %q", first, all)
	}
}

// A connection that one Group's handler gives to another has its handshake
// there.
func TestEstablishedIsToldToTheOuterGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, inner := &Group{Max: 1}, new(Group)
		ctx, stop := context.WithCancel(t.Context())
		ln, done := serving(ctx, outer, func(ctx context.Context, c *Conn) {
			inner.Run(ctx, c, established)
		})
		first := ln.dial(t)
		open(first)
		synctest.Wait()
		if second := ln.dial(t); open(second) {
			t.Error("an established connection lost its place")
		}
		if !open(first) {
			t.Error("the established connection was closed")
		}
		stop()
		<-done
	})
}
