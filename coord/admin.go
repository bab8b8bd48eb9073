package coord

import "time"

// CreateAuthKey returns a new auth key: with it in its configuration a node
// joins without being asked anything. Only its hash is stored, so this is the
// only time it can be seen.
func (s *Server) CreateAuthKey(o AuthKeyOptions) (string, error) {
	var text string
	err := s.administer(func(now time.Time, st *state) (err error) {
		text, err = st.createAuthKey(now, o)
		return err
	})
	if err != nil {
		return "", err
	}
	return text, nil
}

// RevokeAuthKey makes an auth key admit nobody from now on. It is given the key
// or its ID. Nodes that have joined with it stay; see [Server.RemoveNode].
func (s *Server) RevokeAuthKey(keyOrID string) error {
	return s.administer(func(_ time.Time, st *state) error { return st.revokeAuthKey(keyOrID) })
}

// AuthKeys returns the auth keys in the order of their making, without their
// secrets. Those that have admitted nobody for 30 days, and cannot, are
// forgotten.
func (s *Server) AuthKeys() []AuthKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.listAuthKeys()
}

// Approve admits the node that waits for it under the login URL, or the last
// part of it, that the node was given. The node joins when it next asks, which
// it usually does at once.
func (s *Server) Approve(url string) error {
	return s.administer(func(now time.Time, st *state) error { return st.approve(now, url) })
}

// Nodes returns all nodes in the order of their IDs.
func (s *Server) Nodes() []Node {
	nodes := make([]Node, 0)
	for _, n := range s.current.Load().nodes {
		nodes = append(nodes, n.describe(s.domain))
	}
	return nodes
}

// RemoveNode forgets a node: its peers lose it at once, and it can only come
// back as a new one. Its name and addresses become free.
func (s *Server) RemoveNode(id int64) error {
	return s.administer(func(_ time.Time, st *state) error {
		n, err := st.byID(id)
		if err == nil {
			st.remove(n)
		}
		return err
	})
}

// ExpireNode ends the membership of a node until it has been admitted anew,
// with an auth key or by approval; it keeps its name and addresses.
func (s *Server) ExpireNode(id int64) error {
	return s.administer(func(now time.Time, st *state) error {
		n, err := st.byID(id)
		if err == nil {
			st.expire(now, n)
		}
		return err
	})
}

// RenameNode gives a node another first label of its MagicDNS name, whatever it
// calls itself. The empty name gives it back the one it asks for.
func (s *Server) RenameNode(id int64, name string) error {
	return s.administer(func(_ time.Time, st *state) error { return st.rename(id, name) })
}

// administer decides and saves.
func (s *Server) administer(f func(time.Time, *state) error) error {
	var err error
	s.decide(func(now time.Time, st *state) { err = f(now, st) })
	if err != nil {
		return err
	}
	return s.save()
}
