package relay

import (
	"math/rand/v2"
	"time"
)

const (
	minRetry = 250 * time.Millisecond
	maxRetry = 5 * time.Second
)

// backoff says how long to wait between attempts to connect: twice as long
// each time. Half of it is up to chance, so that the nodes of a relay that
// restarts do not all come at once.
type backoff struct{ wait time.Duration }

func (b *backoff) next() time.Duration {
	b.wait = min(max(minRetry, 2*b.wait), maxRetry)
	return b.wait/2 + rand.N(b.wait/2)
}

// connectedFor is told that an attempt succeeded, and how long that was good
// for. A relay that lets us in only to close is no success.
func (b *backoff) connectedFor(d time.Duration) {
	if d > maxRetry {
		b.wait = 0
	}
}
