package meshnet

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// As [http.DefaultTransport] has them.
const (
	idleConnTimeout     = 90 * time.Second
	tlsHandshakeTimeout = 10 * time.Second
)

// HTTPClient returns a client whose requests go to the mesh and nowhere else;
// hosts in URLs are names or addresses of the mesh, and no proxy is used. The
// certificates of https are verified as [Server.RootCAs] says, for a node's full
// name also where the URL has its short one; what the TLSClientConfig of the
// client's [*http.Transport] says has precedence. Each call returns a new client
// with connections of its own, which end with [Server.Close] at the latest.
func (s *Server) HTTPClient() *http.Client {
	t := &http.Transport{
		DialContext:         s.Dial,
		TLSClientConfig:     new(tls.Config),
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     idleConnTimeout,
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return s.dialTLS(ctx, network, addr, t.TLSClientConfig)
	}
	return &http.Client{Transport: t}
}
