package derp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// subprotocol is what both sides of a WebSocket must name. Without it, early
// versions of Tailscale meant the ordinary upgrade.
const subprotocol = "derp"

// maxMessage is the size of the largest message that we send. Tailscale's relays
// and clients read no message of more than 32 KiB (observed in v1.102.5), though
// a packet may have twice as much.
const maxMessage = 16 << 10

func wantsWebSocket(r *http.Request) bool {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return false
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(offered) == subprotocol {
				return true
			}
		}
	}
	return false
}

// serveWebSocket is serveRelay for browsers and for those whom nothing else
// gets through to us. A page of any origin may come: what proves who a client
// is, is its key, which no page gets by a visitor's browser.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	spy := &hijackSpy{ResponseWriter: w}
	ws, err := websocket.Accept(spy, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // of the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil { // the client has been told
		s.log.Debug("derp: a WebSocket was not accepted", "addr", r.RemoteAddr, "err", err)
		return
	}
	nc := newWebSocketConn(ws, spy.nc)
	if !s.registry.addConn(nc) {
		s.past.refuse()
		closeNow(nc)
		return
	}
	s.serveConn(nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), isNotIdeal(r))
}

// hijackSpy remembers the connection that was taken out of HTTP.
type hijackSpy struct {
	http.ResponseWriter
	nc net.Conn
}

func (h *hijackSpy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hijacker, ok := h.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the web server does not give its connections away")
	}
	nc, rw, err := hijacker.Hijack()
	h.nc = nc
	return nc, rw, err
}

// webSocketConn is the stream of bytes in a WebSocket's binary messages, with
// the deadlines and addresses of the connection below.
type webSocketConn struct {
	net.Conn // below
	ws       *websocket.Conn
	message  io.Reader // what is being read, or nil
}

func newWebSocketConn(ws *websocket.Conn, below net.Conn) *webSocketConn {
	ws.SetReadLimit(-1) // we read piece by piece
	return &webSocketConn{Conn: below, ws: ws}
}

func (c *webSocketConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			typ, message, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, endOfWebSocket(err)
			}
			if typ != websocket.MessageBinary {
				return 0, errors.New("derp: the WebSocket carries text")
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// endOfWebSocket turns a farewell into the end of the stream.
func endOfWebSocket(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return io.EOF
	}
	return err
}

// Write sends p in messages that everybody reads.
func (c *webSocketConn) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, maxMessage) {
		if err := c.ws.Write(context.Background(), websocket.MessageBinary, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Close ends the connection without a farewell, which could take seconds.
func (c *webSocketConn) Close() error {
	err := closeNow(c.Conn)
	c.ws.CloseNow()
	return err
}
