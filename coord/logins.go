package coord

import (
	"context"
	"time"
)

// Logins returns the nodes that wait to be admitted, in the order in which they
// came. They came without an auth key, and are forgotten after an hour.
func (s *Server) Logins(ctx context.Context) ([]Login, error) {
	return decide(ctx, s, func(now time.Time, st *state) ([]Login, error) { return st.listLogins(now), nil })
}

// Approve admits the node that waits for it under the login URL, or the last
// part of it, that the node was given. The node joins when it next asks, which
// it usually does at once.
func (s *Server) Approve(ctx context.Context, url string, o ApproveOptions) error {
	return s.do(ctx, func(now time.Time, st *state) error { return st.approve(now, url, o) })
}

// Reject ends the wait of a node, given as to [Server.Approve]. It may ask
// again, under another URL.
func (s *Server) Reject(ctx context.Context, url string) error {
	return s.do(ctx, func(now time.Time, st *state) error { return st.reject(now, url) })
}
