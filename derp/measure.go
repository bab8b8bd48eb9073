//go:build !js

package derp

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"time"
)

// measure times a request that the relay's web server answers by itself.
func (a *attempt) measure(ctx context.Context) (time.Duration, error) {
	return secured(ctx, a, func(conn *tls.Conn) (time.Duration, error) {
		defer conn.NetConn().Close() // without a farewell, which may block
		r := bufio.NewReader(io.LimitReader(conn, maxUpgradeReply))
		start := time.Now()
		resp, err := ask(r, bufio.NewWriter(conn), a.request(pathLatency))
		took := time.Since(start)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode < 200 || resp.StatusCode > 299 { // somebody between us and the relay
			return 0, fmt.Errorf("the request was answered with %q", resp.Status)
		}
		return max(1, took), nil
	})
}
