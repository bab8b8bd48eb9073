//go:build !js

package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
)

// callOutside makes a request that does not go through Noise, on a connection
// of its own. It checks certificates and follows no redirects.
func (c *Config) callOutside(ctx context.Context, method string, u *url.URL, body []byte, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	t := &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	// Not t.RoundTrip: its dials outlive ctx.
	conn, err := t.NewClientConn(ctx, u.Scheme, net.JoinHostPort(u.Hostname(), portOf(u)))
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp)
}
