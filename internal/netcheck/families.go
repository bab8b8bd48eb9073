package netcheck

// families are those of a network's addresses.
type families struct{ v4, v6 bool }

func (f *families) add(ipv6 bool) {
	f.v4 = f.v4 || !ipv6
	f.v6 = f.v6 || ipv6
}

// tally is how far a round has come in each family.
type tally struct {
	known    families // answers are worth waiting for
	asks     families // there is somebody to ask
	sent     families // a request was sent
	answered families // an answer came
}

// misses reports whether there is a family in which nobody has answered, and
// may yet: one of the two is often much slower than the other.
func (t *tally) misses() bool {
	return t.known.v4 && t.sent.v4 && !t.answered.v4 || t.known.v6 && t.sent.v6 && !t.answered.v6
}
