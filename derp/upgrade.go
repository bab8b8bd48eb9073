//go:build !js

package derp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/wsconn"
)

// login connects and logs in.
func (a *attempt) login(ctx context.Context) (*Client, error) {
	return secured(ctx, a, func(conn *tls.Conn) (*Client, error) {
		st, err := a.upgrade(ctx, conn)
		if err != nil {
			return nil, err
		}
		return newClient(st, a.Key, a.MeshKey)
	})
}

// secured connects and has use work with the connection over TLS, which is
// use's unless that fails.
func secured[T any](ctx context.Context, a *attempt, use func(*tls.Conn) (T, error)) (got T, err error) {
	connectCtx := ctx
	if !a.last {
		var cancel context.CancelFunc
		connectCtx, cancel = context.WithTimeout(ctx, connectTimeout)
		defer cancel()
	}
	nc, err := a.connect(connectCtx)
	if err != nil {
		return got, err
	}
	return guarded(ctx, nc, func() (got T, err error) {
		conn := tls.Client(nc, tlsConfig(a.node, a.RootCAs))
		if err := conn.Handshake(); err != nil {
			return got, err
		}
		return use(conn)
	})
}

// upgrade turns a connection to the relay's web server into one to the relay.
func (a *attempt) upgrade(ctx context.Context, conn *tls.Conn) (stream, error) {
	if a.WebSocket {
		return a.upgradeToWebSocket(ctx, conn)
	}
	limited := &io.LimitedReader{R: conn, N: maxUpgradeReply}
	st := newStream(conn, limited)
	req := a.request(pathDERP)
	req.Header.Set("Upgrade", upgradeDERP)
	req.Header.Set("Connection", "Upgrade")
	if a.ideal != "" {
		req.Header.Set(idealNodeHeader, a.ideal) // for the relay's statistics
	}
	if relay, ok := parseMetaCert(conn.ConnectionState()); ok {
		// What is known already need not be asked for. The request goes with
		// the first frame, and is answered by one.
		req.Header.Set(fastStartHeader, "1")
		st.said = relay
		limited.N = math.MaxInt64
		return st, req.Write(st.w)
	}
	resp, err := ask(st.r, st.w, req)
	if err != nil {
		return stream{}, fmt.Errorf("the answer to the upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		return stream{}, fmt.Errorf("the upgrade was answered with %q: %q", resp.Status, why)
	}
	limited.N = math.MaxInt64
	return st, nil
}

// request makes a request to the relay's web server.
func (a *attempt) request(path string) *http.Request {
	return &http.Request{
		Method: http.MethodGet,
		URL:    a.url("https", path),
		Header: http.Header{"User-Agent": {""}}, // none
	}
}

// ask writes a request and reads the head of the answer.
func ask(r *bufio.Reader, w *bufio.Writer, req *http.Request) (*http.Response, error) {
	if err := req.Write(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return http.ReadResponse(r, req)
}

// upgradeToWebSocket is upgrade where nothing else gets through.
func (a *attempt) upgradeToWebSocket(ctx context.Context, conn *tls.Conn) (stream, error) {
	nc, err := wsconn.Upgrade(ctx, conn, a.url("wss", pathDERP).String(), subprotocol, maxUpgradeReply)
	if err != nil {
		return stream{}, err
	}
	return newStream(nc, nc), nil
}

// tlsConfig makes TLS check what the map says about the relay's certificate.
func tlsConfig(node *derpmap.Node, roots *x509.CertPool) *tls.Config {
	cfg := &tls.Config{ServerName: node.HostName, RootCAs: roots}
	switch pin, pinned := cutPin(node.CertName); {
	case pinned:
		cfg.InsecureSkipVerify = true // of the chain
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, pin) }
	case node.InsecureForTests:
		cfg.InsecureSkipVerify = true
	case node.CertName != "":
		cfg.InsecureSkipVerify = true // because Go would check HostName
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return checkName(s, node.CertName, roots) }
	}
	return cfg
}
