package magicsock

import "time"

// An alarm is a timer of the loop, which runs while something has a deadline.
type alarm struct{ *time.Timer }

func newAlarm() alarm {
	t := time.NewTimer(0)
	t.Stop()
	return alarm{t}
}

// set has the alarm go off at a time, or never if that is zero.
func (a alarm) set(at time.Time) {
	if at.IsZero() {
		a.Stop()
	} else {
		a.Reset(time.Until(at))
	}
}
