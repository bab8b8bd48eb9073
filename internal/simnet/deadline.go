package simnet

import (
	"sync"
	"time"
)

// A deadline is a point in time that can be moved while others wait for it on
// a condition, whose lock guards it. Its zero value never comes.
type deadline struct {
	timer  *time.Timer
	passed bool
}

// set moves the deadline to t, where the zero Time takes it away, and wakes
// those who wait on cond.
func (d *deadline) set(t time.Time, cond *sync.Cond) {
	d.stop()
	d.passed = false
	if left := time.Until(t); t.IsZero() {
	} else if left <= 0 {
		d.passed = true
	} else {
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			if d.timer == timer { // not moved meanwhile
				d.passed = true
				cond.Broadcast()
			}
		})
		d.timer = timer
	}
	cond.Broadcast()
}

// stop lets the deadline never come.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
