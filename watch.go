package meshnet

import (
	"context"
	"iter"
)

// Watch returns the status of now, and another one after each change of state,
// network map, home relay or addresses, until ctx ends or the loop does. Of
// changes in quick succession it may return the last alone. After Close it
// returns the status that says so, as the last one. Paths and counters change
// all the time, and are as fresh as the last change of something else: who wants
// to follow them calls [Server.Status].
//
// Watch starts the node if need be. When that fails it returns one status, with
// [StateFailed] and the error.
//
//	for status := range srv.Watch(ctx) {
//		log.Print(status.State, status.Health)
//	}
func (s *Server) Watch(ctx context.Context) iter.Seq[*Status] {
	return func(yield func(*Status) bool) {
		n, err := s.start()
		if err != nil {
			yield(s.notStarted(err))
			return
		}
		for ctx.Err() == nil {
			v, changed := n.view.watch()
			if !yield(n.describeView(v)) || v.state == StateClosed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (s *Server) notStarted(err error) *Status {
	if status := s.Status(); status.State == StateClosed {
		return status
	}
	return &Status{State: StateFailed, Err: err, Health: []string{"The node cannot start: " + err.Error() + "."}}
}

// Ready returns a channel that is closed when the node has become a member of
// the mesh for the first time. It starts the node if need be. When that fails,
// and when the node never becomes a member, the channel stays open: [Server.Up]
// and [Server.Watch] tell why.
func (s *Server) Ready() <-chan struct{} {
	if _, err := s.start(); err != nil && s.running() == nil {
		return make(chan struct{})
	}
	return s.running().ready
}
