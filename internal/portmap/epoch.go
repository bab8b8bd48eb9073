package portmap

import "time"

// epoch watches the clock that gateways send along, which counts from when
// they lost their mappings (RFC 6887 section 8.5).
type epoch struct {
	seconds uint32
	at      time.Time // zero: nothing seen
}

// goesOn takes what the gateway says now, and reports whether it has its
// mappings still: its clock has gone on, within a sixteenth and two seconds as
// fast as ours. A gateway with a worse clock is asked once too often.
func (e *epoch) goesOn(now time.Time, seconds uint32) bool {
	before := *e
	*e = epoch{seconds, now}
	if before.at.IsZero() {
		return true
	}
	ours := int64(now.Sub(before.at) / time.Second)
	theirs := int64(seconds) - int64(before.seconds)
	if theirs < -1 {
		return false
	}
	return ours+2 >= theirs-theirs/16 && theirs+2 >= ours-ours/16
}
