package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
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

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// portOf returns the port that u leads to; it is empty when u is for neither
// http nor https and has none.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	case u.Scheme == "https":
		return "443"
	}
	return ""
}
