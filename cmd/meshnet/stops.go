package main

// stops is how what has been started is stopped: the last first.
type stops struct{ list []func() }

// onStop has f called when all stops, before what was there earlier.
func (s *stops) onStop(f func()) { s.list = append(s.list, f) }

func (s *stops) stop() {
	for i := len(s.list) - 1; i >= 0; i-- {
		s.list[i]()
	}
}
