package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmap"
)

// A view is what a node knows of itself at one moment. It is written by
// node.run, but for node.retryLogin, and node.fetchControlKey while run waits
// for it; everybody else reads and waits.
type view struct {
	state   State
	netMap  *netmap.Map // never nil in StateRunning; nil before the first one, and after the end
	relay   magicsock.Local
	authURL string // in StateNeedsLogin, and for a renewal in StateRunning
	expired bool   // the node was a member until its key expired
	err     error  // in StateFailed and StateLoggedOut the reason, before StateRunning the last problem
	lost    error  // in StateRunning why the coordinator is not heard; nil while it is
	// heard is when the coordinator last stood by netMap, if that was in an
	// earlier run of the program; zero once it has answered in this one.
	heard time.Time
}

// live reports whether the node is a member by what the coordinator has said in
// this run.
func (v view) live() bool { return v.state == StateRunning && v.heard.IsZero() }

// trouble notes what went wrong with the coordinator, which is tried again.
func (v *view) trouble(err error) {
	if v.state == StateRunning {
		v.lost = err
	} else {
		v.err = err
	}
}

// up reports whether the node is a member of the mesh. It is an error when only
// the caller can bring that about; a patient one is told of logins elsewhere,
// and waits.
func (v view) up(patient bool) (bool, error) {
	switch v.state {
	case StateRunning:
		return true, nil
	case StateStarting:
		var wrong *ControlURLError
		if errors.As(v.err, &wrong) {
			return false, v.err
		}
	case StateFailed, StateLoggedOut:
		return false, v.err
	case StateClosed:
		return false, net.ErrClosed
	case StateNeedsLogin:
		if !patient {
			return false, &NeedsLoginError{URL: v.authURL, Expired: v.expired}
		}
	}
	return false, nil
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

// ips returns the node's addresses, the first of each IP version.
func (v view) ips() (ip4, ip6 netip.Addr) {
	if v.netMap == nil {
		return
	}
	for _, a := range addrs(v.netMap.Self) {
		switch {
		case a.Is4() && !ip4.IsValid():
			ip4 = a
		case a.Is6() && !ip6.IsValid():
			ip6 = a
		}
	}
	return ip4, ip6
}

// waitUp waits until the node is a member of the mesh, and returns the view in
// which it is.
func (n *node) waitUp(ctx context.Context) (view, error) {
	v, err := n.view.wait(ctx, func(v view) (bool, error) { return v.up(n.cfg.onAuthURL != nil) })
	if ctxErr := ctx.Err(); err != nil && err == ctxErr {
		err = &waitError{ctxErr, v.obstacle()}
	}
	return v, err
}

// A waitError is that a context ended before the node was up.
type waitError struct {
	ctxErr   error
	obstacle string
}

func (e *waitError) Error() string { return fmt.Sprintf("%v while %s", e.ctxErr, e.obstacle) }

func (e *waitError) Unwrap() error { return e.ctxErr }

// Timeout makes the [*net.OpError] around it say so too.
func (e *waitError) Timeout() bool { return errors.Is(e.ctxErr, context.DeadlineExceeded) }

// relayGrace is how long Up waits for the home relay once all else is ready,
// and for a coordinator that neither answers nor fails when there is a map from
// an earlier run. A node is of use without them.
const relayGrace = 5 * time.Second

// waitReady waits until the node is up and, for a while, until its home relay
// is connected, and the coordinator heard or known to be out of reach.
func (n *node) waitReady(ctx context.Context) error {
	if _, err := n.waitUp(ctx); err != nil {
		return err
	}
	graceful, cancel := context.WithTimeout(ctx, relayGrace)
	defer cancel()
	n.view.wait(graceful, func(v view) (bool, error) {
		relayed := v.state == StateRunning && (v.relay.Connected || len(v.netMap.DERPMap.IDs()) == 0)
		return v.state != StateRunning || relayed && (v.live() || v.lost != nil), nil
	})
	_, err := n.waitUp(ctx) // it may no longer be up
	return err
}
