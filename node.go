package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netstack"
	"github.com/meshnet-go/meshnet/internal/ping"
	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/internal/tunwrap"
	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

// overlayMTU is the packet size inside the tunnel that every peer can take.
const overlayMTU = 1280

// A node is a started Server: the parts, and run, the one goroutine that
// mediates between them. The parts know nothing of each other.
//
//	stack ── tun ── ping ── wg ── magic      packets, in both directions
//	session → run → all of them      the network map
//	magic   → run → session          what we found out about ourselves
type node struct {
	cfg   config
	disco key.DiscoPrivate
	view  *published[view]
	ready chan struct{} // closed by run when the node is a member for the first time

	stack stack
	tun   *tunwrap.Device
	ping  *ping.Device
	wg    *wg.Device
	magic *magicsock.Conn
	host  *hostNet

	passage  *passage   // serves what nobody listens for; nil in TUN mode
	maps     *mapKeeper // nil when the node has no next run
	captures captures
	keeping  keeping // of the TLS certificate

	retry   chan struct{}   // asks run to try again after a failure; holds one
	orders  chan *order     // to run; holds none
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	stopped chan struct{} // closed when run has returned
	// current is the session with the coordinator, nil between two.
	current atomic.Pointer[control.Session]

	// Of run.
	id     identity
	server key.MachinePublic    // the coordinator's; zero until it is known
	spare  control.Spare        // the connection that server came by
	judged time.Time            // when it was last decided whose key in the map has expired
	raised map[netip.Prefix]int // MTUs that the stack knows
}

func newNode(cfg config) (*node, error) {
	id, disco, err := cfg.keys()
	if err != nil {
		return nil, err
	}
	n := &node{
		cfg:     cfg,
		disco:   disco,
		view:    newPublished(view{state: StateStarting, expired: !id.oldNode.IsZero()}),
		ready:   make(chan struct{}),
		retry:   make(chan struct{}, 1),
		orders:  make(chan *order),
		stopped: make(chan struct{}),
		id:      id,
	}
	if err := n.makeParts(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.ctx, n.cancel = ctx, cancel
	if !cfg.ephemeral && cfg.pair == nil {
		n.maps = newMapKeeper(cfg.store, cfg.log)
		go n.maps.run(ctx)
	}
	go n.run(ctx)
	return n, nil
}

func (n *node) makeParts() (err error) {
	var own *netstack.Stack
	if n.cfg.tun != nil {
		n.stack = newHostStack(n.cfg.tun)
	} else {
		own, err = netstack.New(netstack.Config{MTU: overlayMTU, Logger: n.cfg.log, Transit: len(n.cfg.routes.advertise) > 0})
		if err != nil {
			return err
		}
		n.stack = own
	}
	n.magic = magicsock.New(n.magicConfig())
	n.host = newHostNet(n.cfg)
	n.magic.SetHost(n.host.host(n.view.load()))
	n.tun = tunwrap.New(n.stack.Tun(), n.stack.Inject)
	n.ping = ping.New(n.tun, n.stack.Inject)
	n.wg, err = wg.New(n.ping, n.magic.Bind(), n.cfg.log)
	if err == nil {
		err = n.wg.SetPrivateKey(n.id.node)
	}
	if err != nil {
		n.closeParts()
		return err
	}
	if own != nil {
		n.passage = newPassage(n, own)
	}
	return nil
}

func (n *node) magicConfig() magicsock.Config {
	cfg := magicsock.Config{
		Node:         n.id.node,
		Disco:        n.disco,
		ListenPacket: n.cfg.listenPacket,
		Port:         n.cfg.port,
		DialContext:  n.cfg.dial,
		RootCAs:      n.cfg.rootCAs,
		Logger:       n.cfg.log,

		NoPortProbing: n.cfg.noPortProbing,
	}
	if n.cfg.postQuantum {
		cfg.PresharedKey = n.setPresharedKey
	}
	return cfg
}

// setPresharedKey gives WireGuard a key for a peer, or takes it back. Magicsock,
// which agrees on it, calls this, because it must be done before the peer hears
// of it. The nodes of a pair are never without.
func (n *node) setPresharedKey(peer key.NodePublic, k psk.Key) {
	if n.cfg.pair != nil && k.IsZero() {
		k = n.cfg.pair.presharedKey()
	}
	if err := n.wg.SetPresharedKey(peer, k); err != nil && !errors.Is(err, net.ErrClosed) {
		n.cfg.log.Warn("a preshared key is not set", "peer", peer.Short(), "err", err)
	}
}

// closeParts closes from the outside in, so that nobody writes to what is gone.
func (n *node) closeParts() {
	n.hangUp()
	if n.wg != nil {
		n.wg.Close() // closes ping and tun, and our view of magic
	}
	n.captures.close()
	n.spare.Close()
	n.magic.Close()
	n.stack.Close()
	n.passage.wait()
	n.host.close()
}

// close ends the node and waits for that. Any number of callers may.
func (n *node) close() {
	n.cancel()
	<-n.stopped
	n.keeping.wait()
	if n.maps != nil {
		<-n.maps.done
	}
}

// retryLogin makes a node that has failed, or logged out, try again, and one that
// has found no coordinator do so at once. It is no longer so when retryLogin
// returns, so that whoever waits then waits for the new attempt.
func (n *node) retryLogin() {
	n.view.update(func(v *view) {
		if _, err := v.up(true); err == nil || v.state == StateClosed {
			return
		}
		*v = view{state: StateStarting, expired: v.expired}
		select {
		case n.retry <- struct{}{}:
		default: // run has not taken the one of a call before
		}
	})
}

// run brings the node up and keeps it up until ctx ends.
func (n *node) run(ctx context.Context) {
	defer close(n.stopped)
	defer n.view.update(func(v *view) { *v = view{state: StateClosed} })
	defer n.closeParts()
	n.goByLastMap()
	for {
		err := n.join(ctx)
		if ctx.Err() != nil {
			return
		}
		n.fail(err)
		if !n.idle(ctx, err) {
			return
		}
	}
}

// idle waits, while the node is not in the mesh because of err, until the user
// calls Up. It reports false when ctx has ended.
func (n *node) idle(ctx context.Context, err error) bool {
	for {
		select {
		case <-n.retry:
			return true
		case o := <-n.orders:
			if o.logout {
				n.logOutFailed(o)
			} else {
				o.done <- err
			}
		case <-ctx.Done():
			return false
		}
	}
}

// fail says why the node is not in the mesh, until the user calls Up.
func (n *node) fail(err error) {
	n.cutAllOff()
	out, ok := errors.AsType[*loggedOut](err)
	if ok {
		n.view.update(func(v *view) { *v = view{state: StateLoggedOut, err: ErrLoggedOut} })
		out.order.tell(nil)
		return
	}
	n.cfg.log.Error("the node is not in the mesh", "err", err)
	n.view.update(func(v *view) { *v = view{state: StateFailed, err: err, expired: v.expired} })
}

// logOutFailed logs out a node that is not in the mesh.
func (n *node) logOutFailed(o *order) {
	if n.server.IsZero() { // the coordinator has not known us in this run
		if err := n.forgetIdentity(); err != nil {
			o.done <- err
			return
		}
		n.fail(&loggedOut{o})
		return
	}
	cfg := n.sessionConfig()
	cfg.AuthKey = "" // nobody is to be admitted
	session := control.Start(cfg)
	defer session.Close()
	var out *loggedOut
	if err := n.logOut(o, session); errors.As(err, &out) {
		n.fail(out)
	}
}

// join keeps the node in the mesh until ctx ends or only the user can help. A
// node key that has expired is replaced; when the coordinator does not even
// take a fresh one it is of no use to go on.
func (n *node) join(ctx context.Context) error {
	if n.cfg.pair != nil {
		return n.joinPair(ctx, n.cfg.pair)
	}
	var err error
	if n.server, err = n.controlKey(ctx); err != nil {
		return err
	}
	if err := n.renewIfChanged(); err != nil {
		return err
	}
	var pace control.Backoff // for a coordinator that takes keys only to expire them
	for rotated := false; ; {
		joined, err := n.session(ctx)
		if n.id.renewing() && isRefusal(err) {
			err = n.refusedRenewal(err)
		}
		if errors.Is(err, errAnew) {
			continue
		}
		switch {
		case !errors.Is(err, control.ErrNodeKeyExpired):
			return n.explain(err)
		case rotated && !joined:
			return fmt.Errorf("the coordinator calls a fresh key expired: %w", err)
		case rotated && !pause(ctx, pace.Next()):
			return ctx.Err()
		}
		if err := n.rotate(); err != nil {
			return err
		}
		rotated = true
	}
}

// refusedRenewal goes back to the key that was to be replaced. A credential that
// has changed is the user's will, and the node does not go on without it.
func (n *node) refusedRenewal(err error) error {
	if anew := n.revert(); !errors.Is(anew, errAnew) || !n.credentialChanged() {
		return anew
	}
	n.forgetMap()
	var refused *control.RefusedError
	errors.As(err, &refused)
	return &RefusedError{Reason: refused.Reason, Changed: true}
}

// revert goes back to the key that was to be replaced.
func (n *node) revert() error {
	id, err := n.id.reverted(n.cfg.store)
	if err == nil {
		err = n.become(id)
	}
	if err != nil {
		return err
	}
	return errAnew
}

// rotate replaces the node key, which has expired.
func (n *node) rotate() error {
	n.cfg.log.Warn("the node's key has expired; asking for admission with a new one")
	next, err := n.id.rotate(n.cfg.store)
	if err != nil {
		return err
	}
	if err := n.become(next); err != nil {
		return err
	}
	n.forgetMap()
	n.view.update(func(v *view) { *v = view{state: StateStarting, netMap: v.netMap, expired: true} })
	return nil
}

// pause waits for d. It reports false when ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func isRefusal(err error) bool {
	var refused *control.RefusedError
	return errors.As(err, &refused)
}

// explain turns what ended a session into what the user is told.
func (n *node) explain(err error) error {
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		n.forgetMap()
		return &RefusedError{Reason: refused.Reason, Expired: n.view.load().expired}
	case errors.Is(err, control.ErrTailnetLock):
		return ErrTailnetLock
	}
	return err
}
