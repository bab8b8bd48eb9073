//go:build !js

package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/meshnet-go/meshnet/internal/noise"
)

// open makes a Noise connection to the coordinator at addr, whose URL is u.
func (c *Config) open(ctx context.Context, u *url.URL, addr string, initiation *noise.Initiation) (net.Conn, error) {
	if nc := c.Spare.take(); nc != nil {
		conn, err := upgrade(ctx, nc, u, initiation)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		c.logger().Debug("the connection that the coordinator's key came by is of no more use", "err", err)
	}
	// Noise proves who the coordinator is, and TLS is there for the proxies on
	// the way.
	nc, err := c.dialHTTP(ctx, u, addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return upgrade(ctx, nc, u, initiation)
}

// upgrade takes a connection through HTTP and Noise. If that fails it closes it.
func upgrade(ctx context.Context, nc net.Conn, u *url.URL, initiation *noise.Initiation) (net.Conn, error) {
	conn, err := during(ctx, nc, func() (net.Conn, error) {
		switched, err := switchProtocols(nc, u, initiation.Message)
		if err != nil {
			return nil, err
		}
		return initiation.Finish(switched)
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return conn, nil
}

// dialHTTP connects to the coordinator at addr, whose URL is u, for HTTP/1.1.
func (c *Config) dialHTTP(ctx context.Context, u *url.URL, addr string, config *tls.Config) (net.Conn, error) {
	nc, err := c.dial(ctx, "tcp", addr)
	if err != nil || u.Scheme != "https" {
		return nc, err
	}
	config.ServerName = u.Hostname()
	config.NextProtos = []string{"http/1.1"} // HTTP/2 cannot switch protocols
	conn := tls.Client(nc, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return abruptConn{conn, nc}, nil
}

// abruptConn closes the connection below TLS without a word. The farewell of
// TLS would wait up to 5 s for a coordinator that does not read, and Noise has
// no use for it.
type abruptConn struct {
	*tls.Conn
	below net.Conn
}

func (c abruptConn) Close() error { return c.below.Close() }

// switchProtocols sends the Noise initiation in an HTTP request. What it
// returns begins with the response to it.
func switchProtocols(nc net.Conn, u *url.URL, initiation []byte) (net.Conn, error) {
	req := &http.Request{
		Method: http.MethodPost,
		URL:    u.JoinPath("ts2021"),
		Header: http.Header{
			"Upgrade":       {upgradeProtocol},
			"Connection":    {"upgrade"},
			handshakeHeader: {base64.StdEncoding.EncodeToString(initiation)},
			"User-Agent":    {"meshnet"},
		},
	}
	if err := req.Write(nc); err != nil {
		return nil, err
	}
	br := bufio.NewReader(io.LimitReader(nc, maxHeader))
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to the upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		// Not %w: anybody on the way can say this, so it refuses us nothing.
		return nil, fmt.Errorf("asking for %s: %v", upgradeProtocol, readStatusError(resp))
	}
	if got := resp.Header.Get("Upgrade"); got != upgradeProtocol {
		return nil, fmt.Errorf("asking for %s: the answer is %q", upgradeProtocol, got)
	}
	rest, _ := br.Peek(br.Buffered())
	return &prefixed{nc, rest}, nil
}
