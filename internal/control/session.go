package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// SessionConfig says what node a [Session] is for.
type SessionConfig struct {
	Config
	// NodeKey is to be a member.
	NodeKey key.NodePublic
	// OldNodeKey is the one that NodeKey replaces, if any.
	OldNodeKey key.NodePublic
	// AuthKey admits a node that the coordinator does not know. Without one, a
	// person has to.
	AuthKey string
	// Ephemeral nodes are forgotten soon after they went offline.
	Ephemeral bool
	// State is what is reported at first; see [Session.SetState].
	State State
}

// Event is what a session tells its owner. Exactly one of Registered, AuthURL,
// Map and Err is set.
type Event struct {
	// Registered is how the coordinator took the node in: at the beginning, and
	// again whenever it had forgotten it.
	Registered *tailcfg.RegisterResponse
	// AuthURL is for a person to open. The session goes on by itself when that
	// has been done.
	AuthURL string
	// Map is one response of the stream. First is true when it begins a new
	// stream, so that nothing from before holds any more. A PingRequest in it
	// is one to a peer; see [Session.Answer].
	Map   *tailcfg.MapResponse
	First bool
	// Err is what went wrong. The session tries again, unless Events is closed
	// after it: then it is [ErrNodeKeyExpired], [ErrTailnetLock] or a
	// [*RefusedError].
	Err error
}

// Session keeps one node key registered with the coordinator and its network
// map flowing. It owns three goroutines: run, report and answerPings.
type Session struct {
	cfg     SessionConfig
	log     *slog.Logger
	client  *client
	events  chan Event // sent and closed by run
	pings   chan *tailcfg.PingRequest
	reports *reports

	lastPing string // run's: a ping that comes twice is answered once

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	stop       context.CancelFunc // ends the goroutines
	goroutines sync.WaitGroup
}

// Start begins a session. Its owner reads Events and calls Close in the end.
func Start(cfg SessionConfig) *Session {
	s := &Session{
		cfg:     cfg,
		log:     cfg.logger(),
		events:  make(chan Event),
		pings:   make(chan *tailcfg.PingRequest, maxPings),
		reports: newReports(cfg.State),
	}
	s.client = newClient(&s.cfg.Config)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	running, stop := context.WithCancel(s.ctx)
	s.stop = stop
	s.goroutines.Go(func() { s.run(running) })
	s.goroutines.Go(func() { s.report(running) })
	s.goroutines.Go(func() { s.answerPings(running) })
	return s
}

// Events delivers what happens. It is closed when the session has ended: by
// Close, by Logout, or after an error that trying again does not help.
func (s *Session) Events() <-chan Event { return s.events }

// SetState replaces what the coordinator is told of us. It does not wait, and
// the slices and pointers in state must not be changed afterwards.
func (s *Session) SetState(state State) { s.reports.set(state) }

// Logout ends the session and tells the coordinator to expire the node key, or
// to forget the node if it is ephemeral.
func (s *Session) Logout(ctx context.Context) error {
	s.stop()
	s.goroutines.Wait() // else they would register the node again
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.logout(ctx)
}

// Close ends the session and waits for its goroutines. The coordinator keeps
// the node, as one that is offline.
func (s *Session) Close() error {
	s.cancel()
	s.client.close()
	s.goroutines.Wait()
	return nil
}

// run registers the node and follows the map, again and again, until that is
// over.
func (s *Session) run(ctx context.Context) {
	defer s.stop() // of the other goroutines
	defer close(s.events)
	var pace Backoff
	v := verdict{next: enrol}
	for v.next != over {
		began := time.Now()
		if v.next == enrol {
			v = s.enrol(ctx, v.followup)
		} else {
			v = afterStream(s.follow(ctx))
		}
		if ctx.Err() != nil || !s.emit(ctx, v.event) {
			return
		}
		s.reports.setMember(v.next == follow)
		if v.pause && !sleep(ctx, max(v.wait, pace.after(time.Since(began)))) {
			return
		}
	}
}

// emit hands an event to the parent, unless it is empty. It reports false when
// ctx has ended.
func (s *Session) emit(ctx context.Context, ev Event) bool {
	if ev == (Event{}) {
		return true
	}
	select {
	case s.events <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}
