package coord

import "time"

// What a machine may ask for: all its requests together, after a burst of them.
// Each may cost a write of the store, and frames to all its peers.
const (
	requestBurst    = 100
	requestInterval = 100 * time.Millisecond
)

// pace spaces requests. It is a value that knows no clock. The zero value is
// that of one who has asked for nothing yet.
type pace struct {
	// full is when all that was asked for is paid for.
	full time.Time
}

// take counts a request and returns how long it has to wait.
func (p *pace) take(now time.Time) time.Duration {
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(requestInterval)
	return max(0, p.full.Sub(now)-requestBurst*requestInterval)
}
