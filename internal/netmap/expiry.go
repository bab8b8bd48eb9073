package netmap

import (
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// epoch is before any time that it can be for a coordinator. With a clock that
// was never set keys would not expire for years, so it is not believed;
// Tailscale (v1.102.5, ipn/ipnlocal) draws the line there too.
var epoch = time.Date(2023, time.January, 10, 0, 0, 0, 0, time.UTC)

// setClock notes the coordinator's time, by whose clock keys expire. Ours may
// be wrong.
func (m *Map) setClock(control *time.Time, now time.Time) {
	if control != nil && control.After(epoch) {
		m.clockDelta = control.Sub(now)
	}
}

// Expired reports whether the key of a node, ourselves or a peer, has expired
// at now of our clock. An expired peer must be cut off; if we are expired we
// need a new key.
func (m *Map) Expired(n *tailcfg.Node, now time.Time) bool {
	return n.Expired || !n.KeyExpiry.IsZero() && !m.expiry(n).After(now)
}

// expiry returns when the key of a node expires by our clock.
func (m *Map) expiry(n *tailcfg.Node) time.Time { return n.KeyExpiry.Add(-m.clockDelta) }

// NextExpiry returns when, by our clock and after now, the next key of
// ourselves or a peer expires. It reports false when none will.
func (m *Map) NextExpiry(now time.Time) (at time.Time, ok bool) {
	consider := func(n *tailcfg.Node) {
		if n.KeyExpiry.IsZero() || m.Expired(n, now) {
			return
		}
		if t := m.expiry(n); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	consider(m.Self)
	for _, n := range m.Peers {
		consider(n)
	}
	return at, ok
}

// Expiry returns when, by our clock, the key of a node expires; zero is never.
func (m *Map) Expiry(n *tailcfg.Node) time.Time {
	if n.KeyExpiry.IsZero() {
		return time.Time{}
	}
	return m.expiry(n)
}

// ClockDelta returns how far the coordinator's clock is ahead of ours, as far
// as it has told us the time.
func (m *Map) ClockDelta() time.Duration { return m.clockDelta }
