package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// A connection on which nothing came for pingAfter is probed, and given up
	// when the answer takes longer than pingTimeout.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second

	// maxBody is how much of a short answer is read.
	maxBody = 1 << 20
)

// client sends requests to the coordinator through one connection.
type client struct {
	cfg  *Config
	turn chan struct{} // a lock that a context can end the wait for: full while somebody has it

	// Of whoever has the turn:
	conn   *http.ClientConn // nil: none yet
	closed bool
}

func newClient(cfg *Config) *client {
	return &client{cfg: cfg, turn: make(chan struct{}, 1)}
}

// close breaks the connection off. Requests fail from then on.
func (c *client) close() {
	c.turn <- struct{}{} // a dial that holds it ends with its context
	defer func() { <-c.turn }()
	c.closed = true
	c.drop()
}

func (c *client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// get returns the connection, which it makes first if there is none that
// works.
func (c *client) get(ctx context.Context) (*http.ClientConn, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.closed {
		return nil, net.ErrClosed
	}
	if c.conn != nil && c.conn.Err() == nil {
		return c.conn, nil
	}
	c.drop()
	nc, err := c.cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := during(ctx, nc, func() (*http.ClientConn, error) { return startHTTP2(ctx, nc) })
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connecting to the coordinator: %w", err)
	}
	c.cfg.logger().Debug("connected to the coordinator", "addr", nc.RemoteAddr())
	c.conn = conn
	return conn, nil
}

// startHTTP2 speaks HTTP/2 on a connection that is safe already.
func startHTTP2(ctx context.Context, nc net.Conn) (*http.ClientConn, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		Protocols:              &protocols,
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return nc, nil },
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  pingAfter,
			PingTimeout:      pingTimeout,
			WriteByteTimeout: pingTimeout,
		},
	}
	return t.NewClientConn(ctx, "http", "coordinator:80") // the name goes nowhere
}

// do sends a request through the connection. The caller closes the body of
// the response; its status is any.
func (c *client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	conn, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	u, _, err := c.cfg.endpoint()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+u.Host+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := conn.RoundTrip(req)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return resp, err
}

// post sends v as JSON. An answer other than 200 is a *statusError.
func (c *client) post(ctx context.Context, path string, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, readStatusError(resp)
	}
	return resp, nil
}

// finish reads what is left of a short answer, so that its stream ends in
// order.
func finish(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, maxBody)
	resp.Body.Close()
}
