// Package feed tells those who follow a store what is committed to it. It is
// what the stores that live in one process have in common.
package feed

import (
	"context"
	"iter"
	"sync"
)

// A Feed is the end of a list of commits, to which more are added. Followers
// hold the place in the list up to which they have read, so that what all have
// read is garbage. The zero value is ready.
type Feed[Commit any] struct {
	mu   sync.Mutex
	last *place[Commit]
}

// place is that of one commit. Before done is closed it has not happened.
type place[Commit any] struct {
	done   chan struct{}
	commit Commit
	next   *place[Commit]
}

// Publish tells all followers of a commit.
func (f *Feed[Commit]) Publish(c Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.end()
	p.commit, p.next = c, newPlace[Commit]()
	f.last = p.next
	close(p.done)
}

// Follow returns the commits that are published from now on, until ctx is done.
// It never yields an error.
func (f *Feed[Commit]) Follow(ctx context.Context) iter.Seq2[Commit, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.end()
	return func(yield func(Commit, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.done:
			}
			c := p.commit
			if p = p.next; !yield(c, nil) {
				return
			}
		}
	}
}

// end returns the place of the next commit. The caller holds mu.
func (f *Feed[Commit]) end() *place[Commit] {
	if f.last == nil {
		f.last = newPlace[Commit]()
	}
	return f.last
}

func newPlace[Commit any]() *place[Commit] { return &place[Commit]{done: make(chan struct{})} }
