package derp

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

const (
	dialTimeout    = 10 * time.Second        // for everything up to the login
	connectTimeout = 1500 * time.Millisecond // for one relay of several to accept a connection
	defaultPort    = 443

	maxUpgradeReply = 64 << 10
	maxRefusal      = 512 // of a reply that is not an upgrade, for the error
)

// DialConfig says how to reach a relay.
type DialConfig struct {
	// Key is who we are. Required.
	Key key.NodePrivate
	// Region has the relays to try, in order. Required.
	Region *derpmap.Region
	// DialContext makes the connections; nil is that of a zero [net.Dialer].
	// Dial waits for it to return when its context has ended.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs are who may sign the relay's certificate; nil is the host's
	// choice. Relays that the map pins or that are insecure do not need them.
	RootCAs *x509.CertPool
}

// Dial connects to the first relay of a region that lets us in, within ten
// seconds and ctx. When it returns, others can reach us there.
func Dial(ctx context.Context, cfg DialConfig) (*Client, error) {
	if cfg.Key.IsZero() || cfg.Region == nil {
		return nil, errors.New("derp: Dial needs a key and a region")
	}
	c, err := dialRegion(ctx, cfg, (*attempt).login)
	if err != nil {
		return nil, fmt.Errorf("derp: connect to region %d: %w", cfg.Region.RegionID, err)
	}
	return c, nil
}

// dialRegion connects to one relay of a region after the other, until use has
// got from one what it wants. The connection is use's, unless that fails.
func dialRegion[T any](ctx context.Context, cfg DialConfig, use func(*attempt, *tls.Conn) (T, error)) (got T, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nodes := relays(cfg.Region)
	err = errors.New("no relay in the region")
	for i, node := range nodes {
		a := attempt{DialConfig: cfg, node: node}
		if i > 0 {
			a.ideal = nodes[0].Name
		}
		got, nodeErr := withinShare(ctx, &a, len(nodes)-i, use)
		if nodeErr == nil {
			return got, nil
		}
		nodeErr = fmt.Errorf("relay %s: %w", node.Name, nodeErr)
		if i == 0 {
			err = nodeErr
		} else {
			err = fmt.Errorf("%w; %w", err, nodeErr)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return got, err
}

// relays returns the nodes of a region that are relays.
func relays(region *derpmap.Region) []*derpmap.Node {
	return slices.DeleteFunc(slices.Clone(region.Nodes), func(n *derpmap.Node) bool {
		return n == nil || n.STUNOnly
	})
}

// attempt is one try to connect to one relay.
type attempt struct {
	DialConfig
	node  *derpmap.Node
	ideal string // name of the relay that should have been reached instead
}

// withinShare dials in a fair share of the time that ctx leaves, so that a
// relay that hangs does not keep us from the left-1 after it.
func withinShare[T any](ctx context.Context, a *attempt, left int, use func(*attempt, *tls.Conn) (T, error)) (got T, err error) {
	deadline, _ := ctx.Deadline() // dialRegion set one
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	defer cancel()

	connectCtx := ctx
	if left > 1 {
		var cancel context.CancelFunc
		connectCtx, cancel = context.WithTimeout(ctx, connectTimeout)
		defer cancel()
	}
	nc, err := a.connect(connectCtx)
	if err != nil {
		return got, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	conn := tls.Client(nc, tlsConfig(a.node, a.RootCAs))
	err = conn.Handshake()
	if err == nil {
		got, err = use(a, conn)
	}
	if !stop() { // nc is closed
		var none T
		return none, context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
	}
	return got, err
}

// login takes a fresh connection through upgrade and login.
func (a *attempt) login(conn *tls.Conn) (*Client, error) {
	timed := &timedConn{Conn: conn, read: clientReadTimeout, write: clientWriteTimeout}
	limited := &io.LimitedReader{R: timed, N: maxUpgradeReply}
	r := bufio.NewReaderSize(limited, clientBuffer)
	w := bufio.NewWriterSize(timed, clientBuffer)
	if err := a.upgrade(r, w); err != nil {
		return nil, err
	}
	limited.N = math.MaxInt64
	return newClient(conn, r, w, a.Key)
}

// upgrade asks the relay's web server for the relay.
func (a *attempt) upgrade(r *bufio.Reader, w *bufio.Writer) error {
	req := a.request(pathDERP)
	req.Header.Set("Upgrade", upgradeDERP)
	req.Header.Set("Connection", "Upgrade")
	if a.ideal != "" {
		req.Header.Set("Ideal-Node", a.ideal) // for the relay's statistics
	}
	resp, err := ask(r, w, req)
	if err != nil {
		return fmt.Errorf("the answer to the upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		return fmt.Errorf("the upgrade was answered with %q: %q", resp.Status, why)
	}
	return nil
}

// request makes a request to the relay's web server.
func (a *attempt) request(path string) *http.Request {
	host := a.node.HostName
	if port := a.port(); port != defaultPort {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "https", Host: host, Path: path},
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

func (a *attempt) port() int { return cmp.Or(a.node.DERPPort, defaultPort) }

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
