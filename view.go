package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmap"
)

// A view is what a node knows of itself at one moment. node.run writes it,
// everybody else reads and waits.
type view struct {
	state   State
	netMap  *netmap.Map // nil until the first one
	relay   magicsock.Local
	authURL string // in StateNeedsLogin
	expired bool   // the node was a member until its key expired
	err     error  // in StateFailed the reason, before StateRunning the last problem
}

// waitUp waits until the node is a member of the mesh. It gives up when only
// the caller can bring that about.
func (n *node) waitUp(ctx context.Context) error {
	var last view
	err := n.view.wait(ctx, func(v view) (bool, error) {
		last = v
		switch v.state {
		case StateRunning:
			return true, nil
		case StateFailed:
			return true, v.err
		case StateClosed:
			return true, net.ErrClosed
		case StateNeedsLogin:
			if n.cfg.onAuthURL == nil {
				return true, &NeedsLoginError{URL: v.authURL, Expired: v.expired}
			}
		}
		return false, nil
	})
	if err != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w while %s", err, last.obstacle())
	}
	return err
}

// obstacle says what keeps the node from being up.
func (v view) obstacle() string {
	switch {
	case v.state == StateNeedsLogin:
		return "waiting for a person to sign in at " + v.authURL
	case v.state == StateNeedsApproval:
		return "waiting for an admin of the mesh to approve this node"
	case v.err != nil:
		return "waiting for the coordinator: " + v.err.Error()
	}
	return "waiting for the coordinator"
}

// waitRelay waits until the home relay is connected.
func (n *node) waitRelay(ctx context.Context) error {
	return n.view.wait(ctx, func(v view) (bool, error) {
		if v.state == StateClosed {
			return true, net.ErrClosed
		}
		return v.relay.Connected || len(v.netMap.DERPMap.IDs()) == 0, nil
	})
}

func (n *node) ips() (ip4, ip6 netip.Addr) {
	m := n.view.load().netMap
	if m == nil {
		return
	}
	for _, p := range m.Self.Addresses {
		switch {
		case !p.IsSingleIP():
		case p.Addr().Is4() && !ip4.IsValid():
			ip4 = p.Addr()
		case p.Addr().Is6() && !ip6.IsValid():
			ip6 = p.Addr()
		}
	}
	return ip4, ip6
}
