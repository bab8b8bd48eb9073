package derp

import "time"

// bucket is a token bucket: it allows perSecond on average and burst at once.
type bucket struct {
	perSecond, burst float64
	tokens           float64
	last             time.Time
}

func newBucket(perSecond, burst int) *bucket {
	return &bucket{perSecond: float64(perSecond), burst: float64(burst), tokens: float64(burst)}
}

// take reports whether n tokens are there at the time now, and takes them.
func (b *bucket) take(now time.Time, n int) bool {
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.perSecond*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.tokens < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}
