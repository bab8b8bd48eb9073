package netcheck

import (
	"cmp"
	"slices"
	"time"
)

const (
	// homePatience is how long the relays of the home region may be out of
	// reach before another region becomes home: long enough for two or three
	// attempts.
	homePatience = 10 * time.Second
	// homeShunned is how long a region that was left so is not taken again
	// while there is another.
	homeShunned = 10 * time.Minute

	// What another region must gain to become home (Tailscale v1.102.5).
	homeGain        = 10 * time.Millisecond
	homeHeardLately = 8 * time.Second
)

// home is the choice of the home region. Every change costs all peers an
// update, so it stays where it is while it can.
type home struct {
	region    int               // 0 when none is chosen
	down      time.Time         // since when it is not connected, zero while it is
	heard     time.Time         // the last frame from there
	connected map[int]bool      // of all regions
	left      map[int]time.Time // those that were left for being down, and when
}

// candidate is a region that can be home.
type candidate struct {
	id      int
	recent  time.Duration // the best latency of late, zero for unknown
	current time.Duration // that of the round which has just ended, likewise
}

// choose takes the nearest region, going by a round that began at a time and
// is over now, unless that gains too little.
func (h *home) choose(now, began time.Time, all []candidate) {
	near := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.current == 0 || h.shunned(now, c.id) })
	if len(near) == 0 {
		return
	}
	best := slices.MinFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.recent, b.recent), cmp.Compare(a.id, b.id))
	})
	if at := indexOf(all, h.region); at < 0 || !h.keeps(now, began, all[at], best) {
		h.set(now, best.id)
	}
}

// keeps reports whether the old home stays although another region is nearer:
// it can be reached, and the gain is less than 10 ms or less than a third. An
// old home that was not measured, but has been heard, stays, too.
func (h *home) keeps(now, began time.Time, old, best candidate) bool {
	heard := h.heard.After(began) || !h.heard.IsZero() && now.Sub(h.heard) < homeHeardLately
	if old.current == 0 {
		return heard
	}
	return old.current-best.recent < homeGain || best.recent > old.current*2/3
}

// settle sees to it that there is a home, and that it can be reached. While
// measuring is true, a round will soon say which is best.
func (h *home) settle(now time.Time, all []candidate, measuring bool) {
	present := indexOf(all, h.region) >= 0
	switch {
	case len(all) == 0:
		h.set(now, 0)
	case len(all) == 1:
		h.set(now, all[0].id)
	case !present && h.region != 0:
		h.set(now, h.other(now, all))
	case !present && !measuring:
		h.set(now, h.other(now, all))
	case present && !h.down.IsZero() && now.Sub(h.down) >= homePatience:
		h.shun(now, h.region)
		h.set(now, h.other(now, all))
	}
}

// other returns the region to try next: one that was not left before, the
// nearest that is known, the lowest ID. If all were left, it is the one that
// was left first.
func (h *home) other(now time.Time, all []candidate) int {
	return slices.MinFunc(all, func(a, b candidate) int {
		x, y := h.shunnedSince(now, a.id), h.shunnedSince(now, b.id)
		return cmp.Or(
			x.Compare(y),
			trueFirst(a.recent != 0, b.recent != 0),
			cmp.Compare(a.recent, b.recent),
			cmp.Compare(a.id, b.id))
	}).id
}

func (h *home) set(now time.Time, region int) {
	if region == h.region {
		return
	}
	h.region, h.heard, h.down = region, time.Time{}, time.Time{}
	if region != 0 && !h.connected[region] {
		h.down = now
	}
}

func (h *home) setConnected(now time.Time, region int, connected bool) {
	if !connected {
		delete(h.connected, region)
		if region == h.region && h.down.IsZero() && region != 0 {
			h.down = now
		}
		return
	}
	if h.connected == nil {
		h.connected = make(map[int]bool)
	}
	h.connected[region] = true
	delete(h.left, region)
	if region == h.region {
		h.down = time.Time{}
	}
}

func (h *home) hear(now time.Time, region int) {
	if region == h.region {
		h.heard = now
	}
}

func (h *home) shun(now time.Time, region int) {
	if h.left == nil {
		h.left = make(map[int]time.Time)
	}
	h.left[region] = now
}

func (h *home) shunned(now time.Time, region int) bool { return !h.shunnedSince(now, region).IsZero() }

// shunnedSince returns when a region was left; zero if it was not, or long ago.
func (h *home) shunnedSince(now time.Time, region int) time.Time {
	at, ok := h.left[region]
	if !ok || now.Sub(at) >= homeShunned {
		delete(h.left, region)
		return time.Time{}
	}
	return at
}

// deadline returns when to look again if nothing happens before; zero for
// never.
func (h *home) deadline(candidates int) time.Time {
	if candidates < 2 || h.down.IsZero() {
		return time.Time{}
	}
	return h.down.Add(homePatience)
}

func indexOf(all []candidate, id int) int {
	return slices.IndexFunc(all, func(c candidate) bool { return c.id == id })
}
