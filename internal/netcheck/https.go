package netcheck

import (
	"slices"
	"time"
)

const (
	// httpsAfter is how long a node without a home waits for the first answer
	// of a STUN server before it asks over HTTPS as well: while three requests
	// have been sent, and most of the world is nearer. One that has a home waits
	// until no more answers are awaited.
	httpsAfter = 300 * time.Millisecond
	httpsPhase = 5 * time.Second
	maxHTTPS   = 32 // at the same time
)

// An HTTPSProbe is a region whose latency a driver measures over HTTPS.
type HTTPSProbe struct {
	Region int
	round  time.Time // when that began
}

// secure is the part of a round that measures over HTTPS.
type secure struct {
	begun   bool
	until   time.Time
	waiting []int     // regions to be measured, but not yet
	asking  []int     // those that are
	asked   time.Time // when the last was asked; zero before
}

// begin has regions measured.
func (s *secure) begin(now time.Time, regions []int) {
	s.begun, s.waiting, s.until = true, regions, now.Add(httpsPhase)
}

// next returns the regions that are to be asked now.
func (s *secure) next(now time.Time) []int {
	room := min(len(s.waiting), maxHTTPS-len(s.asking))
	if room == 0 {
		return nil
	}
	next := s.waiting[:room]
	s.waiting = s.waiting[room:]
	s.asking = append(s.asking, next...)
	if len(s.waiting) == 0 {
		s.asked = now
	}
	return next
}

// take reports whether a region is one that is asked, which it then is no more.
func (s *secure) take(region int) bool {
	at := slices.Index(s.asking, region)
	if at < 0 {
		return false
	}
	s.asking = slices.Delete(s.asking, at, at+1)
	return true
}

// over reports whether no more answers are awaited; next has been called
// before.
func (s *secure) over(now time.Time) bool { return len(s.asking) == 0 || !now.Before(s.until) }
