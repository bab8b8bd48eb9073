//go:build !js

package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
)

// ask gets u from the coordinator, and keeps the connection as the spare one. It
// checks certificates and follows no redirects.
func (c *Config) ask(ctx context.Context, u *url.URL, read func(*http.Response) error) error {
	nc, err := c.dialHTTP(ctx, u, net.JoinHostPort(u.Hostname(), portOf(u)), &tls.Config{RootCAs: c.RootCAs})
	if err != nil {
		return err
	}
	again, err := during(ctx, nc, func() (bool, error) { return get(nc, u, read) })
	if err != nil || !again {
		nc.Close()
		return err
	}
	c.Spare.keep(nc)
	return nil
}

// get makes a request by a connection, and reports whether that is good for
// another one.
func get(nc net.Conn, u *url.URL, read func(*http.Response) error) (again bool, err error) {
	req := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"User-Agent": {"meshnet"}}}
	if err := req.Write(nc); err != nil {
		return false, err
	}
	br := bufio.NewReader(io.LimitReader(nc, maxHeader+maxKeyBody))
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if err := read(resp); err != nil {
		return false, err
	}
	_, err = resp.Body.Read(make([]byte, 1))
	return err == io.EOF && br.Buffered() == 0 && !resp.Close, nil
}

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
