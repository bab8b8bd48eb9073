package coord

import (
	"context"
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Nodes returns all nodes in the order of their IDs.
func (s *Server) Nodes() []Node {
	now := s.current.Load()
	nodes := make([]Node, 0, len(now.nodes))
	for _, n := range now.nodes {
		nodes = append(nodes, n.describe(now.terms))
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

// RenewNode lets a node stay until the given time, or for ever if that is zero,
// even if it has expired or logged out.
func (s *Server) RenewNode(ctx context.Context, id int64, until time.Time) error {
	return s.onNode(ctx, id, func(now time.Time, st *state, n *node) error {
		if !until.IsZero() && !until.After(now) {
			return fmt.Errorf("coord: %v is over; a node is expired with ExpireNode", until)
		}
		st.change(n, func(n *node) { n.KeyExpiry, n.Expired = until.UTC(), false })
		return nil
	})
}

// SetNodeUser gives a node to the user with that login. A node that has tags
// keeps them, and acts for them as before.
func (s *Server) SetNodeUser(ctx context.Context, id int64, login string) error {
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error {
		u, err := st.userOf(login)
		if err != nil {
			return err
		}
		st.give(func(*ledger) {}) // to the user
		st.change(n, func(n *node) { n.User = tailcfg.UserID(u.ID) })
		return nil
	})
}

// SetNodeTags gives a node these tags in place of those that it has. Tagged
// nodes act for themselves and do not expire; without tags a node is its
// user's again.
func (s *Server) SetNodeTags(ctx context.Context, id int64, tags []string) error {
	tags, err := checkTags(tags)
	if err != nil {
		return err
	}
	return s.onNode(ctx, id, func(_ time.Time, st *state, n *node) error {
		st.change(n, func(n *node) { n.tag(tags) })
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
			return fmt.Errorf("coord: node %d: %w", id, ErrNotFound)
		}
		return f(now, st, n)
	})
}
