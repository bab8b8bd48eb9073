package coord

import (
	"context"
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
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

// Approve admits the node that waits for it under the login URL, or the last
// part of it, that the node was given. The node joins when it next asks, which
// it usually does at once.
func (s *Server) Approve(ctx context.Context, url string) error {
	return s.do(ctx, func(now time.Time, st *state) error { return st.approve(now, url) })
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
func (s *Server) RemoveNode(ctx context.Context, id int64) error {
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error {
		st.drop(n)
		return nil
	})
}

// ExpireNode ends the membership of a node until it has been admitted anew,
// with an auth key or by approval; it keeps its name and addresses.
func (s *Server) ExpireNode(ctx context.Context, id int64) error {
	return s.onNode(ctx, id, func(now time.Time, st *state, n *node) error {
		st.expire(now, n)
		return nil
	})
}

// RenameNode gives a node another first label of its MagicDNS name, whatever it
// calls itself. The empty name gives it back the one it asks for.
func (s *Server) RenameNode(ctx context.Context, id int64, name string) error {
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error { return st.rename(n, name) })
}

// onNode lets f decide on a node.
func (s *Server) onNode(ctx context.Context, id int64, f func(time.Time, *state, *node) error) error {
	return s.do(ctx, func(now time.Time, st *state) error {
		n := st.nodes[tailcfg.NodeID(id)]
		if n == nil {
			return fmt.Errorf("coord: there is no node %d", id)
		}
		return f(now, st, n)
	})
}
