package coord

import (
	"context"
	"time"
)

// CreateAuthKey returns a new auth key: with it in its configuration a node
// joins without being asked anything. Only its hash is stored, so this is the
// only time it can be seen.
func (s *Server) CreateAuthKey(ctx context.Context, o AuthKeyOptions) (string, error) {
	return decide(ctx, s, func(now time.Time, st *state) (string, error) { return st.createAuthKey(now, o) })
}

// RevokeAuthKey makes an auth key admit nobody from now on. It is given the key
// or its ID. Nodes that have joined with it stay; see [Server.RemoveNode].
func (s *Server) RevokeAuthKey(ctx context.Context, keyOrID string) error {
	return s.do(ctx, func(_ time.Time, st *state) error { return st.revokeAuthKey(keyOrID) })
}

// AuthKeys returns the auth keys in the order of their making, without their
// secrets. Those that have admitted nobody for 30 days, and cannot, are
// forgotten.
func (s *Server) AuthKeys(ctx context.Context) ([]AuthKey, error) {
	return decide(ctx, s, func(_ time.Time, st *state) ([]AuthKey, error) { return st.listAuthKeys(), nil })
}
