package coord

// Status is how a coordinator and its tailnet are.
type Status struct {
	Domain string
	Nodes  int
	Online int // nodes with a map stream, here or at another coordinator
	// Streams is how many of them are here.
	Streams int
	// Policy says in a sentence which policy is in force: also that it is none.
	Policy string
}

// Status returns how the coordinator is at the moment.
func (s *Server) Status() Status {
	now := s.current.Load()
	st := Status{Domain: s.domain, Nodes: len(now.nodes), Streams: s.streams.count(), Policy: now.policyStatus()}
	for _, n := range now.nodes {
		if n.online() {
			st.Online++
		}
	}
	return st
}

func (t *terms) policyStatus() string {
	if why, ok := t.policy.AllowsAll(); ok {
		return why
	}
	return "a policy says which nodes may reach which"
}
