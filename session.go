package meshnet

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// session registers the node key and follows the network map until that ends
// with the error it returns. joined tells whether the node was in the mesh.
func (n *node) session(ctx context.Context) (joined bool, err error) {
	session := control.Start(n.sessionConfig())
	defer session.Close()
	n.current.Store(session)
	defer n.current.Store(nil)
	asked, stopAsked := startAsked(ctx, session)
	defer stopAsked()
	expiry := time.NewTimer(n.untilExpiry()) // of the next key, a peer's or ours, or of a map
	defer expiry.Stop()
	confirm := time.NewTicker(confirmEvery)
	defer confirm.Stop()
	var problem error // the session's last one is why it ends
	var renewal *renewal
	defer func() { renewal.giveWay() }()
	events := session.Events()
	for {
		select {
		case ev, ok := <-events:
			if !ok {
				return joined, problem
			}
			if ev.Err != nil {
				problem = ev.Err
			}
			if err := n.handle(ev); err != nil {
				return joined, err
			}
			if ev.Map != nil {
				asked.send(n, ev.Map.PingRequest)
			}
			joined = joined || n.view.load().live()
			expiry.Reset(n.untilExpiry())
		case <-expiry.C:
			if err := n.handleExpiry(); err != nil {
				return joined, err
			}
			expiry.Reset(n.untilExpiry())
		case <-confirm.C:
			n.keepMap()
		case ev, ok := <-renewal.events():
			over, err := n.handleRenewal(renewal, ev, ok)
			if err != nil {
				return joined, err
			}
			if over {
				renewal = nil
			}
		case o := <-n.orders:
			renewal.giveWay()
			if o.logout {
				return joined, n.logOut(o, session)
			}
			if renewal = n.startRenewal(o, session); renewal == nil && events == nil {
				return joined, errAnew
			}
			if renewal != nil && renewal.alone {
				events = nil
			}
		case <-n.magic.Changed():
			n.localChanged()
			session.SetState(n.state())
		case <-n.host.remapped():
			n.magic.SetHost(n.host.host(n.view.load()))
			session.SetState(n.state())
		case <-n.host.changed():
			n.networkChanged()
		case <-ctx.Done():
			n.leave(session)
			return joined, ctx.Err()
		}
	}
}

// attend does what session does besides the coordinator's business, until done
// is closed.
func (n *node) attend(done <-chan struct{}) {
	expiry := time.NewTimer(n.untilExpiry())
	defer expiry.Stop()
	for {
		select {
		case <-done:
			return
		case <-expiry.C:
			if err := n.handleExpiry(); err != nil {
				n.cfg.log.Warn("keys that have expired", "err", err) // there is no live map, and so no key of ours
			}
			expiry.Reset(n.untilExpiry())
		case <-n.magic.Changed():
			n.localChanged()
		case <-n.host.remapped():
			n.magic.SetHost(n.host.host(n.view.load()))
		case <-n.host.changed():
			n.networkChanged()
		}
	}
}

// localChanged takes note of what magicsock has found out about ourselves.
func (n *node) localChanged() {
	local := n.magic.Local()
	n.view.update(func(v *view) { v.relay = local })
	n.setMTUs(n.view.load().netMap)
	if local.BehindNAT != n.host.behindNAT {
		n.host.seekMapping(local.BehindNAT, n.magic.Port())
	}
}

// networkChanged lets the parts know that the host's network has changed.
func (n *node) networkChanged() {
	n.renewFilter()
	n.magic.SetHost(n.host.host(n.view.load()))
	n.magic.NetworkChanged()
	n.host.seekMapping(n.host.behindNAT, n.magic.Port())
}

func (n *node) sessionConfig() control.SessionConfig {
	return control.SessionConfig{
		Config:     n.controlConfig(n.server),
		NodeKey:    n.id.node.Public(),
		OldNodeKey: n.id.oldNode,
		AuthKey:    n.cfg.authKey,
		Ephemeral:  n.cfg.ephemeral,
		State:      n.state(),
	}
}

// state is what the coordinator, and through it every peer, is told of us.
func (n *node) state() control.State {
	userspace := n.cfg.tun == nil
	local := n.magic.Local()
	state := control.State{
		Disco: n.disco.Public(),
		Hostinfo: tailcfg.Hostinfo{
			Hostname:    n.cfg.hostname,
			OS:          runtime.GOOS,
			GoArch:      runtime.GOARCH,
			GoVersion:   runtime.Version(),
			App:         "meshnet",
			Userspace:   &userspace,
			RequestTags: n.cfg.advertiseTags,
			RoutableIPs: n.cfg.routes.advertise,
			NetInfo:     n.host.netInfo(local.NetInfo),
		},
	}
	for _, e := range local.Endpoints {
		state.Endpoints = append(state.Endpoints, e.Addr)
		state.EndpointTypes = append(state.EndpointTypes, e.Type)
	}
	return state
}

// leave says goodbye where that makes a difference: to peers first, which the
// coordinator lets forget an ephemeral node at once.
func (n *node) leave(session *control.Session) {
	n.hangUp()
	if !n.cfg.ephemeral {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logoutPatience)
	defer cancel()
	if err := session.Logout(ctx); err != nil {
		n.cfg.log.Debug("logging out", "err", err)
	}
}

// handle acts on one event of the session. An error ends the session.
func (n *node) handle(ev control.Event) error {
	switch {
	case ev.Err != nil:
		n.cfg.log.Warn("the coordinator", "err", ev.Err)
		if !control.Ends(ev.Err) { // else it is told by whoever takes the session's end
			n.view.update(func(v *view) { v.trouble(ev.Err) })
		}
	case ev.AuthURL != "":
		return n.needsLogin(ev.AuthURL)
	case ev.Registered != nil:
		return n.registered(ev.Registered)
	case ev.Map != nil:
		return n.handleMap(ev)
	}
	return nil
}

func (n *node) registered(resp *tailcfg.RegisterResponse) (err error) {
	n.cfg.log.Info("registered", "user", resp.Login.LoginName)
	if err := n.keepCredential(); err != nil {
		return err
	}
	if n.id, err = n.id.accepted(n.cfg.store); err != nil {
		return err
	}
	n.view.update(func(v *view) {
		v.authURL = ""
		if v.state == StateNeedsLogin {
			v.state = StateStarting // until the map comes
		}
	})
	return nil
}

// needsLogin says where a person must sign in. A renewal that ends there is of
// an earlier run, or of an AuthKey that is empty by now: the key of before is
// good.
func (n *node) needsLogin(page string) error {
	if n.id.renewing() {
		return n.revert()
	}
	if err := checkPage(page); err != nil {
		return err
	}
	n.forgetMap()
	known := n.view.load().authURL == page
	n.view.update(func(v *view) { v.state, v.authURL = StateNeedsLogin, page })
	if known {
		return nil
	}
	n.cfg.log.Info("a person must sign in to let this node in", "url", page)
	if n.cfg.onAuthURL != nil {
		go n.cfg.onAuthURL(page)
	}
	return nil
}

// handleMap folds a response into the network map and puts that into force. A
// change that makes no sense is left out, and the map before it stays; without
// a first map there is nothing to go on with.
func (n *node) handleMap(ev control.Event) error {
	now := time.Now()
	m := n.view.load().netMap
	if ev.First {
		m = nil
	}
	m, err := m.Apply(ev.Map, now)
	switch {
	case err != nil && ev.First:
		return fmt.Errorf("the coordinator's network map makes no sense: %w", err)
	case err != nil:
		n.cfg.log.Warn("the coordinator sent a change that makes no sense", "err", err)
		return nil
	}
	if ev.Map.KeepAlive { // has told us the time, at most
		n.view.amend(func(v *view) { v.netMap = m })
		return nil
	}
	switch {
	case m.Locked() && !n.cfg.allowUnsigned:
		return ErrTailnetLock
	case m.Expired(m.Self, now):
		return control.ErrNodeKeyExpired
	}
	if err := n.apply(m, now); err != nil {
		return fmt.Errorf("putting the network map into force: %w", err)
	}
	n.view.update(func(v *view) {
		v.netMap, v.relay = m, n.magic.Local()
		if !m.Self.MachineAuthorized {
			v.state = StateNeedsApproval
			return
		}
		v.state, v.err, v.lost, v.expired = StateRunning, nil, nil, false
		v.heard = time.Time{}
	})
	n.magic.PeersReady()
	n.becomeReady()
	n.keepMap()
	return nil
}

// becomeReady lets the world know when the node is a member for the first time.
func (n *node) becomeReady() {
	select {
	case <-n.ready:
	default:
		if n.view.load().state == StateRunning {
			close(n.ready)
		}
	}
}

const never = time.Duration(math.MaxInt64)

// untilExpiry is how long it is until the next key of the map expires, ours or
// a peer's: of those that had not when the map was judged, because one may have
// expired since.
func (n *node) untilExpiry() time.Duration {
	v := n.view.load()
	if v.netMap == nil {
		return never
	}
	left := never
	if !v.heard.IsZero() {
		left = time.Until(v.heard.Add(maxMapAge))
	}
	if at, ok := v.netMap.NextExpiry(n.judged); ok {
		left = min(left, time.Until(at))
	}
	return left
}

// handleExpiry cuts off the peers whose key has expired, and all of them when
// the map is too old. It is an error when our own key has expired.
func (n *node) handleExpiry() error {
	v, now := n.view.load(), time.Now()
	m := v.netMap
	if m == nil {
		return nil
	}
	n.judged = now
	expired := m.Expired(m.Self, now)
	switch {
	case !v.heard.IsZero() && (expired || now.Sub(v.heard) >= maxMapAge):
		n.cfg.log.Warn("the coordinator has not been heard for too long; its last map is no longer used")
		n.dropLastMap()
		return nil
	case expired:
		return control.ErrNodeKeyExpired
	}
	if err := n.apply(m, now); err != nil {
		return err
	}
	n.magic.PeersReady()
	return nil
}
