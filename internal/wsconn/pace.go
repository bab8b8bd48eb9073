package wsconn

import "time"

const (
	// paceEvery is how often something is sent, on the average, that does not fill
	// a message: a browser spends tenths of a millisecond on each. It is less than
	// what a network takes.
	paceEvery = 4 * time.Millisecond
	// paceBurst is how many times that is not so after a rest, for who waits for an
	// answer before they go on.
	paceBurst = 16
)

// pace says when to send, so that much is sent in few messages and little at once.
type pace struct {
	free time.Time // when all of the burst is there again
}

// wait returns how long to wait before sending.
func (p *pace) wait(now time.Time) time.Duration {
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(paceEvery)
	return max(0, p.free.Sub(now)-paceBurst*paceEvery)
}
