package cert

import (
	"crypto/tls"
	"time"
)

// Between failed attempts to get a certificate. Public authorities take few.
const (
	firstPause = 10 * time.Second
	maxPause   = time.Hour
)

// A Plan decides when a node asks for a certificate. It is a value that knows no
// clock.
type Plan struct {
	// Held is the certificate that the node has; nil is none.
	Held *tls.Certificate
	// Problem is why the last attempt failed; nil when it did not.
	Problem error

	fits   Want // what Held was found to be
	failed int  // how often in a row
	again  time.Time
}

// Due returns how long it is until a certificate is to be asked for; zero is now.
// A certificate that is not what is wanted is held no more.
func (p *Plan) Due(want Want, now time.Time) time.Duration {
	if p.Held != nil && !want.Equal(p.fits) {
		if want.Fits(p.Held, now) {
			p.fits = want
		} else {
			*p = Plan{} // what failed before was something else
		}
	}
	due := p.again
	if p.Held != nil && RenewAt(p.Held).After(due) {
		due = RenewAt(p.Held)
	}
	return max(0, due.Sub(now))
}

// Got says that the node has got what it wanted.
func (p *Plan) Got(c *tls.Certificate, want Want) { *p = Plan{Held: c, fits: want} }

// Failed says that an attempt has failed. The next one is to be later, and ever
// later.
func (p *Plan) Failed(now time.Time, why error) {
	p.Problem = why
	p.again = now.Add(min(firstPause<<min(p.failed, 10), maxPause))
	p.failed++
}
