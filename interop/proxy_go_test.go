package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	xproxy "golang.org/x/net/proxy"
)

// goPrograms reach the mesh with what Go programs have for proxies.
func (n *proxyNet) goPrograms(t *testing.T, proxies ...*proxy) {
	t.Helper()
	for _, p := range proxies {
		for _, c := range []struct{ what, host string }{
			{"by name", "web"}, {"by IPv4", n.web.ip4.String()}, {"by IPv6", n.web.ip6.String()},
		} {
			p.try(t, "x/net/proxy", "closes one half, "+c.what, func(ctx context.Context) (string, error) {
				return "", p.halfClose(ctx, c.host)
			})
		}
		for _, proxyScheme := range []string{"socks5", "http"} {
			for _, scheme := range []string{"http", "https"} {
				p.try(t, "net/http", proxyScheme+" to "+scheme, func(ctx context.Context) (string, error) {
					return "", p.get(ctx, proxyScheme, scheme+"://web/told")
				})
			}
		}
	}
}

// dial connects to an address of the mesh through SOCKS5.
func (p *proxy) dial(ctx context.Context, addr string) (stream, error) {
	var auth *xproxy.Auth
	if p.password != "" {
		auth = &xproxy.Auth{User: p.user, Password: p.password}
	}
	dialer, err := xproxy.SOCKS5("tcp", p.addr, auth, nil)
	if err != nil {
		return nil, err
	}
	c, err := dialer.Dial("tcp", addr) // the TCP connection itself, other than of DialContext
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	return c.(stream), nil
}

// halfClose ends its own direction of an echo before it reads the other.
func (p *proxy) halfClose(ctx context.Context, host string) error {
	c, err := p.dial(ctx, net.JoinHostPort(host, echoPort))
	if err != nil {
		return err
	}
	defer c.Close()
	const size = 100_000
	if _, err := io.Copy(c, content(size)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := c.CloseWrite(); err != nil {
		return fmt.Errorf("ending: %w", err)
	}
	if got, want := sum(c), sum(content(size)); got != want {
		return fmt.Errorf("the echo is %s, not %s", got, want)
	}
	return nil
}

// get fetches a page of web.
func (p *proxy) get(ctx context.Context, proxyScheme, page string) error {
	u := &url.URL{Scheme: proxyScheme, Host: p.addr}
	if p.password != "" {
		u.User = url.UserPassword(p.user, p.password)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, "GET", page, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != told {
		err = fmt.Errorf("%s: %q", response.Status, body)
	}
	return err
}
