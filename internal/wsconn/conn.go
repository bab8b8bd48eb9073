//go:build !js

package wsconn

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/coder/websocket"
)

// Accept answers a request that is [Offered]. A page of any origin may come:
// what says who a client is has to be in the stream. When Accept fails the
// client has been told.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (net.Conn, error) {
	spy := &hijackSpy{ResponseWriter: w}
	ws, err := websocket.Accept(spy, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // of the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return newConn(ws, spy.nc), nil
}

// hijackSpy remembers the connection that was taken out of HTTP.
type hijackSpy struct {
	http.ResponseWriter
	nc net.Conn
}

// Unwrap lets an [http.ResponseController] find what else the writer can do.
func (h *hijackSpy) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *hijackSpy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hijacker, ok := h.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the web server does not give its connections away")
	}
	nc, rw, err := hijacker.Hijack()
	h.nc = nc
	return nc, rw, err
}

// Upgrade asks the web server at the other end of nc, which url leads to, for a
// WebSocket. The answer's header may have maxHeader bytes.
func Upgrade(ctx context.Context, nc net.Conn, url, subprotocol string, maxHeader int64) (net.Conn, error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     &http.Transport{DialContext: dial, DialTLSContext: dial, MaxResponseHeaderBytes: maxHeader},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   http.Header{"User-Agent": {""}}, // none
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		return nil, err
	}
	if ws.Subprotocol() != subprotocol {
		ws.CloseNow()
		return nil, &SubprotocolError{subprotocol}
	}
	return newConn(ws, nc), nil
}

// conn is the stream, with the deadlines and addresses of the connection below.
type conn struct {
	net.Conn // below
	ws       *websocket.Conn
	message  io.Reader // what is being read, or nil
}

func newConn(ws *websocket.Conn, below net.Conn) net.Conn {
	ws.SetReadLimit(-1) // we read piece by piece
	return &conn{Conn: below, ws: ws}
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			typ, message, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, endOf(err)
			}
			if typ != websocket.MessageBinary {
				return 0, errors.New("the WebSocket carries text")
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

// endOf turns a farewell into the end of the stream.
func endOf(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	return err
}

func (c *conn) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, maxMessage) {
		if err := c.ws.Write(context.Background(), websocket.MessageBinary, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Close ends the connection without a farewell, of WebSockets or of TLS, which
// could take seconds.
func (c *conn) Close() error {
	below := c.Conn
	if t, ok := below.(interface{ NetConn() net.Conn }); ok {
		below = t.NetConn()
	}
	err := below.Close()
	c.ws.CloseNow()
	return err
}
