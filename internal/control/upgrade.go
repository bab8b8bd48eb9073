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
	nc, err := c.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := during(ctx, nc, func() (net.Conn, error) {
		return upgrade(ctx, nc, u, initiation)
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return conn, nil
}

// upgrade takes a fresh TCP connection through TLS, HTTP and Noise.
func upgrade(ctx context.Context, nc net.Conn, u *url.URL, initiation *noise.Initiation) (net.Conn, error) {
	if u.Scheme == "https" {
		var err error
		if nc, err = startTLS(ctx, nc, u.Hostname()); err != nil {
			return nil, err
		}
	}
	nc, err := switchProtocols(nc, u, initiation.Message)
	if err != nil {
		return nil, err
	}
	return initiation.Finish(nc)
}

// startTLS takes any certificate: Noise proves who the coordinator is, and TLS
// is there for the proxies on the way.
func startTLS(ctx context.Context, nc net.Conn, host string) (net.Conn, error) {
	conn := tls.Client(nc, &tls.Config{
		ServerName:         host,
		InsecureSkipVerify: true,
		NextProtos:         []string{"http/1.1"}, // HTTP/2 cannot switch protocols
	})
	return abruptConn{conn, nc}, conn.HandshakeContext(ctx)
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
