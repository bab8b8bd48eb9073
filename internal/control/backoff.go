package control

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 30 * time.Second
)

// Backoff says how long to wait between attempts that fail: half a second at
// first, twice as long every time, at most 30 s; of that, a random part of up
// to a half is taken off, so that nodes do not come back in step. The zero
// value is ready.
type Backoff struct {
	last time.Duration // before the random part; zero: no attempt failed
}

// Next returns how long to wait after one more failed attempt.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, firstDelay), maxDelay)
	return b.last - rand.N(b.last/2)
}

// after is Next for an attempt that took that long. One that held for longer
// than any wait is the first of a new row of failures.
func (b *Backoff) after(took time.Duration) time.Duration {
	if took > maxDelay {
		b.last = 0
	}
	return b.Next()
}

// sleep waits for d or, when ctx ends before, returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
