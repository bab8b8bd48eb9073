package httpproxy

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/splice"
)

// established is the head of a successful answer to CONNECT. It has neither
// Content-Length nor Transfer-Encoding (RFC 9110 section 9.3.6): the tunnel
// begins after the empty line.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// connect opens a tunnel and carries it until it ends.
func (x *exchange) connect() {
	server := x.conn.server
	target, err := x.conn.dial(x.in.Context(), "tcp", x.ask.address())
	if err != nil {
		x.fail(err)
		return
	}
	defer target.Close()
	client, err := hijack(x.ResponseWriter)
	if err != nil {
		x.err = err
		return
	}
	x.status = http.StatusOK
	client.SetWriteDeadline(time.Now().Add(server.handshakeTimeout()))
	if _, err := io.WriteString(client, established); err != nil {
		x.err = err
		return
	}
	client.SetWriteDeadline(time.Time{})
	sent, received, err := splice.Conns(x.conn.ctx, client, target, server.IdleTimeout)
	x.toTarget.Store(sent)
	x.toClient.Store(received)
	x.err = err
}

// hijack takes the connection from net/http, with what that has read of the
// tunnel already.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	nc, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	early, _ := buf.Reader.Peek(buf.Reader.Buffered())
	if len(early) == 0 {
		return nc, nil
	}
	return &earlyConn{nc.(*conn), early}, nil
}

// An earlyConn is a connection of which the beginning has been read.
type earlyConn struct {
	*conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}
