package coord

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	// maxBatch is how many decisions are committed together, at most. They
	// gather while the store is busy with those before them.
	maxBatch = 256
	// storePatience is how long the store may take to tell of a commit that was
	// in the way of ours, and how long we leave it in peace after an error.
	storePatience = time.Second
)

// loop is the goroutine that owns the state, and its mail.
type loop struct {
	store     Store
	decisions chan *decision     // has no room: who waits to send is in nobody's way
	ended     chan struct{}      // closed when no more decisions are made
	state     *state             // run's
	later     <-chan followed    // run's: what the store tells
	unfollow  context.CancelFunc // run's: ends later
}

func newLoop(store Store, st *state) loop {
	if store == nil {
		store = NewMemoryStore()
	}
	return loop{store: store, decisions: make(chan *decision), ended: make(chan struct{}), state: st}
}

// open reads the store, and founds the tailnet when it is empty. It is called
// before run.
func (s *Server) open() (err error) {
	if err := s.follow(); err != nil {
		return fmt.Errorf("coord: read the store: %w", err)
	}
	st := s.loop.state
	for now := time.Now().UTC(); !st.founded(now); {
		if err = st.found(now); err == nil {
			err = s.tryCommit(nil)
		}
		if errors.Is(err, ErrConflict) {
			err = s.follow() // another coordinator has founded it
		}
		if err != nil {
			return fmt.Errorf("coord: found the tailnet: %w", err)
		}
	}
	if s.key, err = key.ParseMachinePrivate(st.tailnet.Key); err != nil {
		return fmt.Errorf("coord: %w", err)
	}
	st.dueAt(longAgo) // so that the first turn of the loop shows that we live
	st.advance(time.Now().UTC())
	s.publish()
	return nil
}

// decision is a change of state that somebody waits for. It runs again when its
// commit failed because another coordinator was first: it must depend on
// nothing but the state.
type decision struct {
	decide func(now time.Time, st *state)
	done   func(error) // called once: the change is committed, or was not made
}

// followed is a commit, or the error that ends them.
type followed struct {
	commit []Entry
	err    error
}

// decide lets f decide at the present moment, and returns what it returned when
// all that it changed is in the store. f runs in the loop: it must return at
// once, keep nothing but records, change nothing when it returns an error, and
// bear to be run again. The error may also be that of ctx, and then the change
// may have been made; the store's; or [ErrClosed].
func decide[T any](ctx context.Context, s *Server, f func(now time.Time, st *state) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var a answer // the loop's, until it is sent
	answers := make(chan answer, 1)
	d := &decision{
		decide: func(now time.Time, st *state) { a.value, a.err = f(now, st) },
		done: func(err error) {
			if err != nil {
				a = answer{err: err}
			}
			answers <- a
		},
	}
	var none T
	select {
	case s.loop.decisions <- d:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-s.loop.ended:
		return none, ErrClosed
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// do is decide for what has no result.
func (s *Server) do(ctx context.Context, f func(now time.Time, st *state) error) error {
	_, err := decide(ctx, s, func(now time.Time, st *state) (struct{}, error) { return struct{}{}, f(now, st) })
	return err
}

// run lets decisions be made, and follows the store, until the server is closed.
func (s *Server) run() {
	defer close(s.loop.ended)
	defer s.resign()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var batch []*decision
		select {
		case <-s.ctx.Done():
			return
		case f := <-s.loop.later:
			s.hear(f)
		case d := <-s.loop.decisions:
			batch = s.loop.gather(d)
		case <-timer.C:
		}
		wait := s.commit(batch)
		timer.Stop()
		if wait == 0 && !s.loop.state.due.IsZero() {
			wait = max(time.Until(s.loop.state.due), time.Millisecond)
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// gather returns the decision with all that wait behind it.
func (l *loop) gather(first *decision) []*decision {
	batch := []*decision{first}
	for len(batch) < maxBatch {
		select {
		case d := <-l.decisions:
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// commit makes the decisions of a batch, and those that are due, and has the
// store keep what they changed. It returns how long to wait before the next
// when something went wrong.
func (s *Server) commit(batch []*decision) (wait time.Duration) {
	err := s.tryCommit(batch)
	for errors.Is(err, ErrConflict) && s.ctx.Err() == nil {
		s.catchUp()
		err = s.tryCommit(batch)
	}
	if err != nil {
		s.log.Warn("the coordinator could not store a change", "err", err)
		s.refollow() // whether the change was made the store knows
		wait = storePatience
	}
	s.publish()
	for _, d := range batch {
		d.done(err)
	}
	return wait
}

func (s *Server) tryCommit(batch []*decision) error {
	st, now := s.loop.state, time.Now().UTC()
	st.advance(now)
	for _, d := range batch {
		d.decide(now, st)
	}
	st.electRouters(now)
	changes, err := st.changes()
	if err == nil && len(changes) == 0 {
		return nil
	}
	var revision int64
	if err == nil {
		revision, err = s.loop.store.Commit(s.ctx, changes)
	}
	if err != nil {
		st.rollback()
		return err
	}
	st.committed(revision)
	return nil
}

// catchUp waits for the commit that was in the way of ours.
func (s *Server) catchUp() {
	select {
	case f := <-s.loop.later:
		s.hear(f)
	case <-time.After(storePatience):
		s.refollow()
	case <-s.ctx.Done():
	}
}

// hear takes over what the store tells.
func (s *Server) hear(f followed) {
	if f.err == nil {
		f.err = s.loop.state.merge(time.Now().UTC(), f.commit)
	}
	if f.err != nil {
		s.log.Warn("the coordinator lost track of the store and reads it anew", "err", f.err)
		s.refollow()
	}
}

// refollow makes the state what the store holds. When that cannot be read, the
// state stays as it is, and it is tried again a little later.
func (s *Server) refollow() {
	if err := s.follow(); err != nil && s.ctx.Err() == nil {
		s.log.Warn("the coordinator could not read its store", "err", err)
		failed := make(chan followed, 1)
		time.AfterFunc(storePatience, func() { failed <- followed{err: err} })
		s.loop.later = failed
	}
}

// follow reads the store, and has later told what changes in it.
func (s *Server) follow() error {
	if s.loop.unfollow != nil {
		s.loop.unfollow()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.loop.unfollow = cancel
	all, commits, err := s.loop.store.Follow(ctx)
	if err != nil {
		return err
	}
	later := make(chan followed)
	s.loop.later = later
	s.work.run(func() { pass(ctx, commits, later) })
	return s.loop.state.restore(time.Now().UTC(), all)
}

// pass sends what is followed until ctx is done or that ends.
func pass(ctx context.Context, commits iter.Seq2[[]Entry, error], to chan<- followed) {
	send := func(f followed) bool {
		select {
		case to <- f:
			return f.err == nil
		case <-ctx.Done():
			return false
		}
	}
	for commit, err := range commits {
		if !send(followed{commit, err}) {
			return
		}
	}
	send(followed{err: errors.New("the store tells no more")})
}

// resign says that this coordinator serves no longer, so that others need not
// wait for it.
func (s *Server) resign() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
	defer cancel()
	st := s.loop.state
	if me := st.coordinators[s.loop.state.self]; me != nil {
		st.drop(me)
		if changes, err := st.changes(); err == nil {
			s.loop.store.Commit(ctx, changes) // an error means that they do wait
		}
	}
}
