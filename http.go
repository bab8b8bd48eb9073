package meshnet

import (
	"net/http"
	"time"
)

// As [http.DefaultTransport] has them.
const (
	idleConnTimeout     = 90 * time.Second
	tlsHandshakeTimeout = 10 * time.Second
)

// HTTPClient returns a client whose requests go to the mesh and nowhere else;
// hosts in URLs are names or addresses of the mesh, and no proxy is used. Each
// call returns a new client with connections of its own, which end with
// [Server.Close] at the latest.
func (s *Server) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         s.Dial,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     idleConnTimeout,
		TLSHandshakeTimeout: tlsHandshakeTimeout,
	}}
}
