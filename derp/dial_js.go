package derp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// A browser has WebSockets and fetch. It checks the relay's certificate by
// itself, and knows nothing of pins.

// login connects and logs in.
func (a *attempt) login(ctx context.Context) (*Client, error) {
	ws, _, err := websocket.Dial(ctx, a.url("wss", pathDERP).String(), &websocket.DialOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		return nil, err
	}
	if ws.Subprotocol() != subprotocol {
		ws.CloseNow()
		return nil, errors.New("the server has WebSockets, but no relay")
	}
	nc := browserConn{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}
	return guarded(ctx, nc, func() (*Client, error) { return newClient(newStream(nc, nc), a.Key, a.MeshKey) })
}

// measure times a request that the relay's web server answers by itself. The
// one before it opens the connection.
func (a *attempt) measure(ctx context.Context) (took time.Duration, err error) {
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, a.url("https", pathLatency).String(), nil)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		resp, err := http.DefaultClient.Do(req)
		took = time.Since(start)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if resp.StatusCode < 200 || resp.StatusCode > 299 { // somebody between us and the relay
			return 0, fmt.Errorf("the request was answered with %q", resp.Status)
		}
	}
	return max(1, took), nil
}

// browserConn is a WebSocket of the browser.
type browserConn struct {
	net.Conn
	ws *websocket.Conn
}

// Write sends p in messages that everybody reads.
func (c browserConn) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, maxMessage) {
		sent, err := c.Conn.Write(part)
		n += sent
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close ends the connection without waiting for the other side's farewell.
func (c browserConn) Close() error { return c.ws.CloseNow() }
