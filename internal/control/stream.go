package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// silence is how long a stream may be without a frame. Coordinators send one at
// least every minute.
const silence = 120 * time.Second

var errSilent = errors.New("nothing came for " + silence.String())

// follow streams the network map to the parent and returns what ended it.
func (s *Session) follow(ctx context.Context) error {
	if err := s.stream(ctx); err != nil {
		return fmt.Errorf("following the network map: %w", err)
	}
	return nil
}

func (s *Session) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	// The state is in a stream's request too: Headscale takes it from there, so
	// that leaving it out would reset it.
	req := s.mapRequest(s.reports.latest())
	req.Stream, req.KeepAlive = true, true
	resp, err := s.client.post(ctx, "/machine/map", req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()

	frames := frameReader{r: resp.Body}
	for first := true; ; {
		watchdog.Reset(silence)
		frame, err := frames.next()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		watchdog.Stop() // what follows takes as long as our parent does
		m, err := parseMap(frame)
		if err != nil {
			return err
		}
		ev, err := s.digest(m, first)
		if err != nil {
			return err
		}
		if !s.emit(ctx, ev) {
			return context.Cause(ctx)
		}
		first = first && !ev.First
	}
}

// digest takes out of a frame what is the session's own business, and makes the
// rest an event.
func (s *Session) digest(m *tailcfg.MapResponse, first bool) (Event, error) {
	s.sortPing(m)
	if m.KeepAlive {
		if first || m.PingRequest == nil && m.PopBrowserURL == "" && m.ControlTime == nil {
			return Event{}, nil
		}
		return Event{Map: m}, nil
	}
	if first && m.Node == nil {
		return Event{}, errors.New("its first frame does not name our node")
	}
	return Event{Map: m, First: first}, nil
}

// sortPing takes a ping out of a frame that is the session's own business, or
// that has come before.
func (s *Session) sortPing(m *tailcfg.MapResponse) {
	p := m.PingRequest
	if p == nil {
		return
	}
	again := p.URL == "" || p.URL == s.lastPing
	if s.lastPing = p.URL; !again && !answers(p) {
		return
	}
	if m.PingRequest = nil; !again {
		s.queuePing(p)
	}
}
