package derp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/wsconn"
)

// A browser has WebSockets and fetch. It checks the relay's certificate by
// itself, and knows nothing of pins.

// login connects and logs in.
func (a *attempt) login(ctx context.Context) (*Client, error) {
	scheme := "wss"
	if a.plain() {
		scheme = "ws"
	}
	nc, err := wsconn.Dial(ctx, a.url(scheme, pathDERP).String(), subprotocol)
	if err != nil {
		return nil, err
	}
	return guarded(ctx, nc, func() (*Client, error) { return newClient(newStream(nc, nc), a.Key, a.MeshKey) })
}

// measure times a request that the relay's web server answers by itself. The
// one before it opens the connection.
func (a *attempt) measure(ctx context.Context) (took time.Duration, err error) {
	scheme := "https"
	if a.plain() {
		scheme = "http"
	}
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, a.url(scheme, pathLatency).String(), nil)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		resp, err := http.DefaultClient.Do(req)
		took = time.Since(start)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if resp.StatusCode < 200 || resp.StatusCode > 299 { // somebody between us and the relay
			return 0, fmt.Errorf("the request was answered with %q", resp.Status)
		}
	}
	return max(1, took), nil
}
