package netcheck

import (
	"math/rand/v2"
	"time"
)

const (
	fullEvery   = 5 * time.Minute
	activeEvery = 20 * time.Second // and up to activeRange more
	activeRange = 6 * time.Second
	roundGap    = time.Second // between the beginnings of two
)

// schedule says when rounds begin.
type schedule struct {
	active    bool
	full      bool      // the next one is full, whatever the time
	requested time.Time // zero when nobody asked for one
	periodic  time.Time // the next one, while active
	begun     time.Time // the last one
	begunFull time.Time // the last full one
}

// request asks for a round.
func (s *schedule) request(now time.Time, full bool) {
	s.full = s.full || full
	at := now
	if free := s.begun.Add(roundGap); at.Before(free) {
		at = free
	}
	s.requested = earliest(s.requested, at)
}

// next returns when a round begins; zero is never.
func (s *schedule) next() time.Time {
	if !s.active {
		return s.requested
	}
	return earliest(s.requested, s.periodic)
}

// begin reports whether a round begins now, and whether that is a full one.
func (s *schedule) begin(now time.Time) (full, due bool) {
	at := s.next()
	if at.IsZero() || now.Before(at) {
		return false, false
	}
	full = s.full || now.Sub(s.begunFull) >= fullEvery
	if full {
		s.begunFull = now
	}
	s.full, s.requested, s.begun = false, time.Time{}, now
	return full, true
}

// ended notes that the round is over.
func (s *schedule) ended(now time.Time) {
	s.periodic = now.Add(activeEvery + rand.N(activeRange))
}
