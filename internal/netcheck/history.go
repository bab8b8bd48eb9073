package netcheck

import (
	"cmp"
	"slices"
	"time"
)

const (
	// latencyAge is how long latencies count: one full round at least is
	// among them.
	latencyAge = fullEvery + 5*time.Second
	// maxSamples bounds those of a region, when rounds are asked for often.
	maxSamples = 32
)

// Latency is the time from a request to its answer, in each way of asking;
// zero is unknown.
type Latency struct {
	IPv4, IPv6 time.Duration // of STUN
	HTTPS      time.Duration // of a request on an open connection
}

// best returns the smallest that is known.
func (l Latency) best() time.Duration { return smaller(l.stun(), l.HTTPS) }

// stun returns the smaller of those of STUN.
func (l Latency) stun() time.Duration { return smaller(l.IPv4, l.IPv6) }

// smaller returns the smaller of two latencies, of which zero is unknown.
func smaller(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// history is what was measured lately, by region, the oldest first.
type history map[int][]sample

type sample struct {
	at time.Time
	Latency
}

func (h history) add(now time.Time, region int, l Latency) {
	samples := append(h[region], sample{now, l})
	h[region] = samples[max(0, len(samples)-maxSamples):]
}

// best returns the lowest latency of a region, or zero.
func (h history) best(region int) (best time.Duration) {
	for _, s := range h[region] {
		if d := s.best(); best == 0 || d < best {
			best = d
		}
	}
	return best
}

// prune forgets what is too old.
func (h history) prune(now time.Time) {
	for id, samples := range h {
		samples = slices.DeleteFunc(samples, func(s sample) bool { return now.Sub(s.at) > latencyAge })
		if h[id] = samples; len(samples) == 0 {
			delete(h, id)
		}
	}
}

// keep forgets regions that are not among those.
func (h history) keep(regions []region) {
	for id := range h {
		_, found := slices.BinarySearchFunc(regions, id, func(r region, id int) int { return cmp.Compare(r.id, id) })
		if !found {
			delete(h, id)
		}
	}
}
