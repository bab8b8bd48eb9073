package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

// node is a member of a tailnet, whichever software it runs.
type node interface {
	kind() string // "meshnet" or "tsnet"
	host() string // the short name
	key() key.NodePublic
	ips() (ip4, ip6 netip.Addr)
	dial(ctx context.Context, network, addr string) (net.Conn, error)
	listen(network, addr string) (net.Listener, error)
	listenPacket(network, addr string) (net.PacketConn, error)
	// whoIs returns full name and login name of who has the address.
	whoIs(ctx context.Context, addr string) (name, login string, err error)
	// peers returns the full names of the nodes that this one knows.
	peers(ctx context.Context) ([]string, error)
	// path is how packets to a peer go, or would go. It is zero for one that is
	// not known yet.
	path(peer key.NodePublic) meshnet.Path
}

// awaitPeers waits until every node knows every other, and the way to it. The
// first packet to a real node that does not is lost, and WireGuard waits five
// seconds before it sends another.
func awaitPeers(t *testing.T, suffix string, nodes ...node) {
	t.Helper()
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				awaitPeer(t, n, fullName(other, suffix))
			}
		}
	}
	for _, n := range nodes {
		if ts, ok := n.(*tsnetNode); ok {
			for _, other := range nodes {
				if n != other {
					awaitPong(t, ts, other)
				}
			}
		}
	}
}

func awaitPong(t *testing.T, n *tsnetNode, other node) {
	t.Helper()
	ip4, _ := other.ips()
	eventually(t, n.host()+" gets a pong of "+other.host(), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return n.ping(ctx, ip4, tailcfg.PingDisco)
	})
}

func awaitPeer(t *testing.T, n node, name string) {
	t.Helper()
	var last error
	eventually(t, n.host()+" knows "+name, func(ctx context.Context) error {
		names, err := n.peers(ctx)
		if err == nil && !slices.Contains(names, name) {
			err = fmt.Errorf("it knows %q", names)
		}
		last = err
		return last
	})
}

func fullName(n node, suffix string) string { return n.host() + "." + suffix }

func shortName(fqdn string) string {
	short, _, _ := strings.Cut(fqdn, ".")
	return short
}
