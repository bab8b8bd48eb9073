package portmap

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// checkEvery is how often we ask whether the mapping still stands, which
	// a gateway that has restarted does not tell by itself.
	checkEvery = 10 * time.Minute

	// After a search without success the next comes after a pause, which
	// grows: gateways restart, and most speak none of the protocols.
	firstPause = 5 * time.Second
	maxPause   = 10 * time.Minute

	// removeTimeout bounds the removal of a mapping from a gateway that may
	// not be there any more.
	removeTimeout = time.Second
)

// run serves one target after the other.
func (c *Client) run() {
	for {
		ctx, t, ok := c.next()
		if !ok {
			c.publish(netip.AddrPort{}, Services{})
			return
		}
		k := &keeper{
			Client: c,
			lan:    &lan{target: t, nonce: nonceOf(c.secret, t), listen: c.cfg.ListenPacket, dial: c.cfg.DialContext},
			log:    c.cfg.Logger.With("gateway", t.gateway, "port", t.port),
		}
		k.keep(ctx)
	}
}

// next returns the target and a context that ends when there is another, or
// false when the Client is closed.
func (c *Client) next() (context.Context, target, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	c.outdated = cancel
	if c.closed {
		cancel()
	}
	return ctx, c.target, !c.closed
}

// keeper keeps the mapping of one target.
type keeper struct {
	*Client
	lan *lan
	log *slog.Logger

	services Services
	held     mapper // nil: none
	lease    lease
	since    time.Time // when the lease was given
}

// keep makes and renews the mapping until ctx ends, and then removes it.
func (k *keeper) keep(ctx context.Context) {
	k.publish(netip.AddrPort{}, Services{})
	pause := firstPause
	if !k.lan.complete() {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		if k.search(ctx) {
			pause = firstPause
			k.renew(ctx)
			continue
		}
		k.wait(ctx, k.upTo(pause, k.lease.lifetime))
		pause = min(2*pause, maxPause)
	}
	if k.held != nil {
		k.publish(netip.AddrPort{}, Services{})
		k.remove(k.held)
	}
}

// search makes the mapping anew, and reports whether it is there. The one that
// is held, of a gateway that has gone silent, remains if not.
func (k *keeper) search(ctx context.Context) bool {
	m, got, services, err := k.lan.find(ctx)
	if err != nil && ctx.Err() != nil {
		if m != nil {
			k.held = m // it may have been made all the same
		}
		return false
	}
	k.services = services
	k.expire()
	if err != nil {
		k.log.Debug("no port mapping", "error", err)
		k.publish(k.lease.external, k.services)
		return false
	}
	if old, ok := k.held.(*upnpMapper); ok && old.leavesBehind(got) {
		k.remove(old)
	}
	k.hold(m, got)
	return true
}

// hold notes that there is a mapping, from now on.
func (k *keeper) hold(m mapper, got lease) {
	if k.lease.external != got.external {
		k.log.Info("port mapping made", "protocol", m.name(), "external", got.external, "lifetime", got.lifetime)
	}
	k.held, k.lease, k.since = m, got, time.Now()
	k.publish(got.external, k.services)
}

// renew keeps the mapping until the gateway does not renew it, or ctx ends.
func (k *keeper) renew(ctx context.Context) {
	for {
		k.wait(ctx, k.upTo(checkEvery, k.lease.lifetime/2))
		if ctx.Err() != nil {
			return
		}
		if time.Since(k.since) < k.lease.lifetime/2 {
			err := k.held.check(ctx)
			if err == nil {
				continue
			}
			k.log.Debug("port mapping is made again", "error", err)
		}
		got, err := k.held.add(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.log.Debug("port mapping not renewed", "error", err)
			var refused *refusal
			if errors.As(err, &refused) {
				k.drop()
			}
			return
		}
		k.hold(k.held, got)
	}
}

// upTo returns how long to wait: d, but not beyond an age of the lease.
func (k *keeper) upTo(d, age time.Duration) time.Duration {
	if k.held == nil {
		return d
	}
	return min(d, time.Until(k.since.Add(age)))
}

// wait waits, but not longer than until somebody wants to know.
func (k *keeper) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.again:
	case <-ctx.Done():
	}
}

// expire drops a mapping whose time is over.
func (k *keeper) expire() {
	if k.held != nil && time.Since(k.since) >= k.lease.lifetime {
		k.drop()
	}
}

// drop notes that there is no mapping any more.
func (k *keeper) drop() {
	k.log.Info("port mapping lost", "protocol", k.held.name(), "external", k.lease.external)
	k.held, k.lease = nil, lease{}
	k.publish(netip.AddrPort{}, k.services)
}

// remove removes a mapping from the gateway. It does not end with the target,
// which may be why it is removed.
func (k *keeper) remove(m mapper) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if err := m.remove(ctx); err != nil {
		k.log.Debug("port mapping not removed", "error", err)
	}
}
