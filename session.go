package meshnet

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// session registers the node key and follows the network map until that ends
// with the error it returns. joined tells whether the node was in the mesh.
func (n *node) session(ctx context.Context, serverKey key.MachinePublic) (joined bool, err error) {
	session := control.Start(n.sessionConfig(serverKey))
	defer session.Close()
	expiry := newAlarm() // of the next key: a peer's, or ours
	defer expiry.stop()
	var problem error // the session's last one is why it ends
	for {
		select {
		case ev, ok := <-session.Events():
			if !ok {
				return joined, problem
			}
			if ev.Err != nil {
				problem = ev.Err
			}
			if err := n.handle(ev); err != nil {
				return joined, err
			}
			joined = joined || n.view.load().state == StateRunning
			expiry.set(n.nextExpiry())
		case <-expiry.C():
			if err := n.handleExpiry(); err != nil {
				return joined, err
			}
			expiry.set(n.nextExpiry())
		case <-n.magic.Changed():
			n.view.update(func(v *view) { v.relay = n.magic.Local() })
			session.SetState(n.state())
		case <-ctx.Done():
			n.leave(session)
			return joined, ctx.Err()
		}
	}
}

func (n *node) sessionConfig(serverKey key.MachinePublic) control.SessionConfig {
	return control.SessionConfig{
		Config:     n.controlConfig(serverKey),
		NodeKey:    n.id.node.Public(),
		OldNodeKey: n.id.oldNode,
		AuthKey:    n.cfg.authKey,
		Ephemeral:  n.cfg.ephemeral,
		State:      n.state(),
	}
}

// state is what the coordinator, and through it every peer, is told of us.
func (n *node) state() control.State {
	userspace := true
	return control.State{
		Disco: n.disco.Public(),
		Hostinfo: tailcfg.Hostinfo{
			Hostname:    n.cfg.hostname,
			OS:          runtime.GOOS,
			GoArch:      runtime.GOARCH,
			GoVersion:   runtime.Version(),
			App:         "meshnet",
			Userspace:   &userspace,
			RequestTags: n.cfg.advertiseTags,
			NetInfo:     &tailcfg.NetInfo{PreferredDERP: n.magic.Local().HomeDERP},
		},
	}
}

// logoutPatience bounds how long Close waits for the coordinator to hear that
// an ephemeral node has gone. It forgets the node a little later anyway.
const logoutPatience = 700 * time.Millisecond

// leave says goodbye where that makes a difference.
func (n *node) leave(session *control.Session) {
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
		n.view.update(func(v *view) {
			if v.state != StateRunning {
				v.err = ev.Err
			}
		})
	case ev.AuthURL != "":
		n.needsLogin(ev.AuthURL)
	case ev.Registered != nil:
		return n.registered(ev.Registered)
	case ev.Map != nil:
		return n.handleMap(ev)
	}
	return nil
}

func (n *node) registered(resp *tailcfg.RegisterResponse) (err error) {
	n.cfg.log.Info("registered", "user", resp.Login.LoginName)
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

func (n *node) needsLogin(url string) {
	known := n.view.load().authURL == url
	n.view.update(func(v *view) { v.state, v.authURL = StateNeedsLogin, url })
	if known {
		return
	}
	n.cfg.log.Info("a person must sign in to let this node in", "url", url)
	if n.cfg.onAuthURL != nil {
		go n.cfg.onAuthURL(url)
	}
}

// handleMap folds a response into the network map and puts that into force. A
// response that makes no sense is left out; the map before it stays.
func (n *node) handleMap(ev control.Event) error {
	now := time.Now()
	m := n.view.load().netMap
	if ev.First {
		m = nil
	}
	m, err := m.Apply(ev.Map, now)
	if err != nil {
		n.cfg.log.Warn("the coordinator sent a map that makes no sense", "err", err)
		return nil
	}
	if ev.Map.KeepAlive { // has told us the time, at most
		n.view.update(func(v *view) { v.netMap = m })
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
		v.state, v.err, v.expired = StateRunning, nil, false
	})
	return nil
}

// nextExpiry is when the next key of the map expires, ours or a peer's; zero
// when none will.
func (n *node) nextExpiry() time.Time {
	m := n.view.load().netMap
	if m == nil {
		return time.Time{}
	}
	at, _ := m.NextExpiry(time.Now())
	return at
}

// handleExpiry cuts off the peers whose key has expired. It is an error when
// our own has.
func (n *node) handleExpiry() error {
	m, now := n.view.load().netMap, time.Now()
	if m.Expired(m.Self, now) {
		return control.ErrNodeKeyExpired
	}
	return n.apply(m, now)
}

// An alarm is a timer for a moment that may change or never come.
type alarm struct {
	at    time.Time
	timer *time.Timer
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{timer: t}
}

// set makes C deliver at the moment at; never when that is zero.
func (a *alarm) set(at time.Time) {
	if at.Equal(a.at) {
		return
	}
	a.at = at
	a.timer.Stop()
	if !at.IsZero() {
		a.timer.Reset(time.Until(at))
	}
}

func (a *alarm) C() <-chan time.Time { return a.timer.C }

func (a *alarm) stop() { a.timer.Stop() }
