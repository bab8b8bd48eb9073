package derp

import (
	"io"
	"net"
	"time"
)

// timedReader reads from a connection, by way of r, and gives up after limit.
type timedReader struct {
	r     io.Reader
	nc    net.Conn
	limit time.Duration
}

func (t *timedReader) Read(p []byte) (int, error) {
	if err := t.nc.SetReadDeadline(time.Now().Add(t.limit)); err != nil {
		return 0, err
	}
	return t.r.Read(p)
}

// timedConn is a connection on which no write takes longer than a limit.
type timedConn struct {
	net.Conn
	write time.Duration
}

func (c *timedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes the connection at once.
func (c *timedConn) Close() error { return closeNow(c.Conn) }

// CloseWrite says that nothing more comes, where the connection has a way to
// say so. What is lost then when it is closed, because the peer still sends,
// would otherwise be what was written last.
func (c *timedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// closeNow closes a connection without the farewell of TLS, which can wait for
// seconds on a peer that does not read.
func closeNow(nc net.Conn) error {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn().Close()
	}
	return nc.Close()
}
