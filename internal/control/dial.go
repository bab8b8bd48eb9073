package control

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// dialTimeout is for everything until the Noise handshake is done.
	dialTimeout = 10 * time.Second

	maxHeader = 64 << 10 // of any HTTP response

	upgradeProtocol = "tailscale-control-protocol"
	handshakeHeader = "X-Tailscale-Handshake"
)

// connect dials the coordinator and makes a Noise connection to it.
func (c *Config) connect(ctx context.Context) (net.Conn, error) {
	conn, err := c.tryConnect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the coordinator: %w", err)
	}
	return conn, nil
}

func (c *Config) tryConnect(ctx context.Context) (net.Conn, error) {
	u, addr, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	initiation, err := noise.Initiate(c.Machine, c.ServerKey, uint16(tailcfg.CurrentCapability))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := c.open(ctx, u, addr, initiation)
	if err != nil {
		return nil, err
	}
	return &earlyConn{prefixed: prefixed{Conn: nc}}, nil
}

// during calls f, and makes it fail by closing nc when ctx ends meanwhile.
func during[T any](ctx context.Context, nc net.Conn, f func() (T, error)) (T, error) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	v, err := f()
	if !stop() {
		return v, context.Cause(ctx)
	}
	return v, err
}

// prefixed is a connection of which a part has been read already.
type prefixed struct {
	net.Conn
	rest []byte // that part
}

func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
