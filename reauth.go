package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/key"
)

// Reauth has the coordinator admit the node anew, before its key expires or to
// let a change of the AuthKey's owner or tags take effect: under a new key, by
// the AuthKey or, when that is empty, by a person, and with the name and the
// addresses that it has. Until then the node stays what it is, and connections
// live on.
//
// It waits until the node is a member under the new key, and peers can reach it
// by that. The error is a
// [*RefusedError] when the coordinator refuses, and the node then keeps its key;
// a [*NeedsLoginError] when a person must sign in and OnAuthURL is nil. The node
// waits for that person in the background, also when ctx ends first. A node that
// is not up needs [Server.Up] instead.
func (s *Server) Reauth(ctx context.Context) error {
	if err := s.reauth(ctx); err != nil {
		return fmt.Errorf("meshnet: renewing the node's key: %w", err)
	}
	return nil
}

func (s *Server) reauth(ctx context.Context) error {
	n, err := s.started()
	if err != nil {
		return err
	}
	o := newOrder(ctx, false)
	if err := n.give(o); err != nil {
		return err
	}
	_, err = n.view.wait(ctx, func(v view) (bool, error) {
		up, err := v.up(true)
		return up && v.netMap.Self.Key == o.renewed, err
	})
	if err != nil {
		return err
	}
	return n.waitReady(ctx)
}

// Logout has the coordinator expire the node's key, or forget the node if it is
// ephemeral, and then forgets the key itself: peers no longer reach the node, nor
// does it them. It is in [StateLoggedOut], and what waits for it gets
// [ErrLoggedOut], until Up joins the mesh again, by the AuthKey or by a person.
// Whether the node then has its former name and addresses is the coordinator's
// decision. When the coordinator is not told before ctx ends, Logout returns an
// error, and the node stays a member.
func (s *Server) Logout(ctx context.Context) error {
	n, err := s.started()
	if err == nil {
		err = n.give(newOrder(ctx, true))
	}
	if err != nil {
		return fmt.Errorf("meshnet: logging out: %w", err)
	}
	return nil
}

// started returns the node, which must have been started.
func (s *Server) started() (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.node == nil:
		return nil, errors.New("the node is not started; call Up first")
	case s.Pair != nil:
		return nil, errors.New("a pair has no coordinator")
	}
	return s.node, nil
}

// An order is what the user asks of node.run: to log out, or else to renew the
// key.
type order struct {
	ctx     context.Context // of the call
	logout  bool
	renewed key.NodePublic // set before done has nil
	done    chan error     // holds one
}

func newOrder(ctx context.Context, logout bool) *order {
	return &order{ctx: ctx, logout: logout, done: make(chan error, 1)}
}

// give hands an order to run and waits for its outcome.
func (n *node) give(o *order) error {
	select {
	case n.orders <- o:
	case <-o.ctx.Done():
		return &waitError{o.ctx.Err(), n.view.load().obstacle()}
	case <-n.stopped:
		return net.ErrClosed
	}
	select {
	case err := <-o.done:
		return err
	case <-o.ctx.Done():
		return o.ctx.Err()
	case <-n.stopped:
		return net.ErrClosed
	}
}

// errAnew ends a session that is to be followed by another one.
var errAnew = errors.New("another session is to begin")

// A loggedOut ends a session by order of the user, who is told when that is
// visible.
type loggedOut struct{ order *order }

func (l *loggedOut) Error() string { return ErrLoggedOut.Error() }

func (l *loggedOut) Unwrap() error { return ErrLoggedOut }

// logOut tells the coordinator that the node goes. The session is over after it,
// whatever the result, which is why that is an error in any case.
func (n *node) logOut(o *order, session *control.Session) error {
	if err := session.Logout(o.ctx); err != nil {
		o.done <- err
		return errAnew
	}
	n.cfg.log.Info("logged out")
	if err := n.forgetIdentity(); err != nil {
		o.done <- err
		return err
	}
	return &loggedOut{o}
}

// forgetIdentity makes the node one that the coordinator does not know.
func (n *node) forgetIdentity() error {
	next, err := n.id.forgotten(n.cfg.store)
	if err != nil {
		return err
	}
	if err := save(n.cfg.store, storedCredential, ""); err != nil {
		return err
	}
	n.forgetMap()
	return n.become(next)
}

// become puts another identity into force.
func (n *node) become(id identity) error {
	n.id = id
	if err := n.wg.SetPrivateKey(id.node); err != nil {
		return err
	}
	n.magic.SetNodeKey(id.node)
	return nil
}

// A renewal asks the coordinator to take a new key while the old one is good.
// Nil is none.
type renewal struct {
	order   *order
	next    identity
	session *control.Session // for next
	alone   bool             // there is no session for the old key meanwhile
	problem error            // the session's last one
}

// startRenewal begins a renewal. With an auth key it is a matter of
// milliseconds, for which the session of the old key is closed, lest it asks for
// admission with the same auth key when its own is replaced. A person takes
// longer, and the node hears the coordinator meanwhile.
func (n *node) startRenewal(o *order, current *control.Session) *renewal {
	if !n.view.load().live() {
		o.done <- errors.New("the node is not up")
		return nil
	}
	next, err := n.id.renewal(n.cfg.store)
	if err != nil {
		o.done <- err
		return nil
	}
	r := &renewal{order: o, next: next, alone: n.cfg.authKey != ""}
	if r.alone {
		current.Close()
	}
	cfg := n.sessionConfig()
	cfg.NodeKey, cfg.OldNodeKey = next.node.Public(), next.oldNode
	r.session = control.Start(cfg)
	return r
}

func (r *renewal) events() <-chan control.Event {
	if r == nil {
		return nil
	}
	return r.session.Events()
}

// giveWay ends a renewal that something else makes futile.
func (r *renewal) giveWay() {
	if r != nil {
		r.session.Close()
		r.order.tell(errors.New("something else came in between"))
	}
}

// handleRenewal acts on an event of a renewal; ok is false after the last one.
// It reports whether the renewal is over. An error ends the node's session.
func (n *node) handleRenewal(r *renewal, ev control.Event, ok bool) (over bool, err error) {
	switch {
	case !ok:
		return true, n.renewalFailed(r)
	case ev.Err != nil:
		n.cfg.log.Warn("renewing the node's key", "err", ev.Err)
		r.problem = ev.Err
	case ev.AuthURL != "":
		return false, n.renewalNeedsLogin(r, ev.AuthURL)
	case ev.Registered != nil:
		return true, n.renewed(r)
	}
	return false, nil
}

// renewed puts the new key into force. The session that begins brings the map
// that is for it.
func (n *node) renewed(r *renewal) error {
	r.session.Close()
	n.cfg.log.Info("the node's key is renewed")
	err := n.keepCredential()
	next := r.next
	if err == nil {
		next, err = next.accepted(n.cfg.store)
	}
	if err == nil {
		err = n.become(next)
	}
	if err != nil {
		r.order.tell(err)
		return err
	}
	n.view.update(func(v *view) { v.authURL = "" })
	r.order.renewed = next.node.Public()
	r.order.tell(nil)
	return errAnew
}

// renewalFailed leaves the node with the key that it has.
func (n *node) renewalFailed(r *renewal) error {
	r.session.Close()
	n.view.update(func(v *view) { v.authURL = "" })
	_, err := r.next.reverted(n.cfg.store)
	var refused *control.RefusedError
	if errors.As(r.problem, &refused) {
		r.order.tell(&RefusedError{Reason: refused.Reason})
	} else {
		r.order.tell(r.problem)
	}
	if err == nil && r.alone {
		return errAnew
	}
	return err
}

func (n *node) renewalNeedsLogin(r *renewal, page string) error {
	if err := checkPage(page); err != nil {
		r.problem = err
		return n.renewalFailed(r)
	}
	known := n.view.load().authURL == page
	n.view.update(func(v *view) { v.authURL = page })
	if known {
		return nil
	}
	n.cfg.log.Info("a person must sign in to renew the node's key", "url", page)
	if n.cfg.onAuthURL != nil {
		go n.cfg.onAuthURL(page)
	} else {
		r.order.tell(&NeedsLoginError{URL: page})
	}
	return nil
}

// tell answers the call, unless it was answered.
func (o *order) tell(err error) {
	select {
	case o.done <- err:
	default:
	}
}

// checkPage checks what the program is likely to open: it must be the address of
// a web page.
func checkPage(page string) error {
	if u, err := url.Parse(page); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("the coordinator asks for a login at %q, which is no web page", page)
	}
	return nil
}
