package serve

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
)

// A Conn is a connection that a [Group] serves.
type Conn struct {
	net.Conn
	group  *Group
	cancel context.CancelFunc // ends the handler's context
	place  *list.Element      // in group.young; guarded by group.mu

	// Peek and Read are the reader's, as ever with connections.
	first  [1]byte
	peeked bool
}

// Established says that the handshake is over: from now on the connection keeps
// its place, and [Group.Shutdown] waits for it. When the connection came from
// another Group's handler, that Group is told too.
func (c *Conn) Established() {
	c.group.mu.Lock()
	c.group.establish(c)
	c.group.mu.Unlock()
	if outer, ok := c.Conn.(interface{ Established() }); ok {
		outer.Established()
	}
}

// Peek waits for the first byte and returns it; the next Read begins with it.
func (c *Conn) Peek() (byte, error) {
	if !c.peeked {
		if _, err := io.ReadFull(c.Conn, c.first[:]); err != nil {
			return 0, err
		}
		c.peeked = true
	}
	return c.first[0], nil
}

func (c *Conn) Read(p []byte) (int, error) {
	if !c.peeked || len(p) == 0 {
		return c.Conn.Read(p)
	}
	c.peeked = false
	return copy(p, c.first[:]), nil
}

// CloseWrite ends the sending direction. It is [errors.ErrUnsupported] when the
// connection knows no such thing.
func (c *Conn) CloseWrite() error {
	if inner, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return inner.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is that of [net.TCPConn]. It is [errors.ErrUnsupported] when the
// connection knows no such thing.
func (c *Conn) SetLinger(seconds int) error {
	if inner, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok {
		return inner.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}

// end closes the connection and the handler's context.
func (c *Conn) end() {
	c.cancel()
	c.Conn.Close()
}

// abort is end in the midst of things: the other side is told of a failure, so
// that what it has does not look complete.
func (c *Conn) abort() {
	c.SetLinger(0)
	c.end()
}
