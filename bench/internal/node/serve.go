package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Port is where servers listen.
const Port = 7000

// A mode is the first byte of a connection. The server sends it back, and then
// does what it says.
type mode byte

const (
	echo   mode = 'e' // sends everything back
	sink   mode = 's' // takes all that comes
	source mode = 'f' // sends until the connection is closed
)

// chunk is how many bytes the application reads and writes at once.
const chunk = 64 << 10

type counter = atomic.Int64

// serve serves connections until the listener is closed.
func (n *node) serve(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go n.serveConn(c)
	}
}

func (n *node) serveConn(c net.Conn) {
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	if _, err := c.Write(first); err != nil {
		return
	}
	switch mode(first[0]) {
	case echo:
		serveEcho(c, first)
	case sink:
		n.drain(c)
	case source:
		flood(c)
	}
}

// serveEcho has a buffer of one byte, because what an idle connection takes is
// measured.
func serveEcho(c net.Conn, buf []byte) {
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// drain counts what comes.
func (n *node) drain(c net.Conn) {
	buf := make([]byte, chunk)
	for {
		got, err := c.Read(buf)
		n.received.Add(int64(got))
		if err != nil {
			return
		}
	}
}

func flood(c net.Conn) {
	buf := make([]byte, chunk)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// open connects to a server in a mode, and returns when the server has answered.
func (n *node) open(ctx context.Context, target netip.Addr, m mode) (net.Conn, error) {
	c, err := n.peer.Dial(ctx, netip.AddrPortFrom(target, Port).String())
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	if err := exchange(ctx, c, byte(m)); err != nil {
		c.Close()
		return nil, fmt.Errorf("exchanging the first byte: %w", err)
	}
	return c, nil
}

// exchange sends a byte and waits until it has come back.
func exchange(ctx context.Context, c net.Conn, b byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
		defer c.SetDeadline(time.Time{})
	}
	buf := []byte{b}
	if _, err := c.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if buf[0] != b {
		return errors.New("another byte came back")
	}
	return nil
}
