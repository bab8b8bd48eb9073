package derp

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
	// MeshKey shows the relay that we belong to its region. Nodes have none.
	MeshKey MeshKey
	// WebSocket is for networks that let nothing else through to the relay.
	// Browsers know nothing else. It costs a round trip when connecting, and
	// some bytes and time for every write.
	WebSocket bool
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

// dialRegion tries one relay of a region after the other, until one gives what
// is wanted.
func dialRegion[T any](ctx context.Context, cfg DialConfig, try func(*attempt, context.Context) (T, error)) (got T, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nodes := relays(cfg.Region)
	err = errors.New("no relay in the region")
	for i, node := range nodes {
		a := attempt{DialConfig: cfg, node: node, last: i == len(nodes)-1}
		if i > 0 {
			a.ideal = nodes[0].Name
		}
		got, nodeErr := withinShare(ctx, &a, len(nodes)-i, try)
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
	last  bool   // there is no other relay to try
}

// withinShare tries in a fair share of the time that ctx leaves, so that a
// relay that hangs does not keep us from the left-1 after it.
func withinShare[T any](ctx context.Context, a *attempt, left int, try func(*attempt, context.Context) (T, error)) (T, error) {
	deadline, _ := ctx.Deadline() // dialRegion set one
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	defer cancel()
	return try(a, ctx)
}

// guarded has use work with a fresh connection, which is closed when ctx ends
// before use returns, and when use fails.
func guarded[T any](ctx context.Context, nc net.Conn, use func() (T, error)) (T, error) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	got, err := use()
	if !stop() { // nc is closed
		var none T
		return none, context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
	}
	return got, err
}

func (a *attempt) port() int { return cmp.Or(a.node.DERPPort, defaultPort) }

// url is where the relay's web server has something.
func (a *attempt) url(scheme, path string) *url.URL {
	host := a.node.HostName
	if port := a.port(); port != defaultPort {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return &url.URL{Scheme: scheme, Host: host, Path: path}
}
