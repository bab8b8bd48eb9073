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

func (b *bucket) fill(now time.Time) {
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.perSecond*now.Sub(b.last).Seconds())
	}
	b.last = now
}

// take reports whether n tokens are there at the time now, and takes them.
func (b *bucket) take(now time.Time, n int) bool {
	b.fill(now)
	if b.tokens < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// spend takes n tokens whether they are there or not, and returns how long it
// takes until the debt is paid.
func (b *bucket) spend(now time.Time, n int) time.Duration {
	b.fill(now)
	b.tokens -= float64(n)
	return time.Duration(max(0, -b.tokens) / b.perSecond * float64(time.Second))
}
