package meshnet

import (
	"context"
	"sync"
)

// published is a value that one goroutine writes and others read and wait on.
type published[T any] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{} // closed and replaced at every store
}

func newPublished[T any](first T) *published[T] {
	return &published[T]{value: first, changed: make(chan struct{})}
}

func (p *published[T]) load() T {
	v, _ := p.watch()
	return v
}

// watch returns the value and a channel that is closed when there is another.
func (p *published[T]) watch() (T, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.changed
}

// update replaces the value by what change makes of it.
func (p *published[T]) update(change func(*T)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.value)
	close(p.changed)
	p.changed = make(chan struct{})
}

// amend is update for a change that nobody waits for.
func (p *published[T]) amend(change func(*T)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.value)
}

// wait returns the first value that is done, or of which done returns an
// error, with that error. When ctx ends first it returns the latest value and
// ctx's error.
func (p *published[T]) wait(ctx context.Context, done func(T) (bool, error)) (T, error) {
	for {
		v, changed := p.watch()
		if ok, err := done(v); ok || err != nil {
			return v, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}
