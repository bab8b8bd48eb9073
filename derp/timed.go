package derp

import (
	"net"
	"time"
)

// timedConn is a connection on which no read and no write takes longer than
// its limit. A limit of zero is none.
type timedConn struct {
	net.Conn
	read, write time.Duration
}

func (c *timedConn) Read(p []byte) (int, error) {
	if c.read > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *timedConn) Write(p []byte) (int, error) {
	if c.write > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// closeNow closes a connection without the farewell of TLS, which can wait for
// seconds on a peer that does not read.
func closeNow(nc net.Conn) error {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn().Close()
	}
	return nc.Close()
}
