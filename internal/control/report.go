package control

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sync"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// State is what the coordinator, and through it our peers, are told of us.
type State struct {
	Hostinfo      tailcfg.Hostinfo
	Disco         key.DiscoPublic
	Endpoints     []netip.AddrPort
	EndpointTypes []tailcfg.EndpointType // one for each of Endpoints
}

// mapRequest is what all requests about the map say.
func (s *Session) mapRequest(state State) *tailcfg.MapRequest {
	return &tailcfg.MapRequest{
		Version:       tailcfg.CurrentCapability,
		NodeKey:       s.cfg.NodeKey,
		DiscoKey:      state.Disco,
		Hostinfo:      &state.Hostinfo,
		Endpoints:     state.Endpoints,
		EndpointTypes: state.EndpointTypes,
	}
}

// reports holds the latest state for whoever sends it, and knows whether that
// is due.
type reports struct {
	wake chan struct{} // holds a value when something may have become due

	mu     sync.Mutex
	state  State
	rev    uint64 // counts what is to be sent
	member bool   // the coordinator knows the node, so it takes reports
}

func newReports(state State) *reports {
	return &reports{wake: make(chan struct{}, 1), state: state, rev: 1}
}

func (r *reports) latest() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// set replaces the state.
func (r *reports) set(state State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reflect.DeepEqual(state, r.state) {
		return
	}
	r.state = state
	r.rev++
	r.nudge()
}

// setMember says, after every registration and every stream, whether the
// coordinator knows the node. One that does is told the state again: it may
// have been restarted and forgotten that.
func (r *reports) setMember(member bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.member = member
	if member {
		r.rev++
		r.nudge()
	}
}

func (r *reports) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// due returns the state if it is to be sent to a coordinator that has rev sent.
func (r *reports) due(sent uint64) (state State, rev uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.rev, r.member && r.rev != sent
}

// report sends the state whenever it is due, until ctx ends. The latest wins;
// the ones that were overtaken are not sent.
func (s *Session) report(ctx context.Context) {
	var sent uint64
	var pace Backoff
	for {
		state, rev, ok := s.reports.due(sent)
		if !ok {
			select {
			case <-s.reports.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := s.sendState(ctx, state)
		if err == nil {
			sent, pace = rev, Backoff{}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Debug("reporting our state to the coordinator", "err", err)
		if !sleep(ctx, max(retryAfter(err), pace.Next())) {
			return
		}
	}
}

// sendState sends a lite update: it does not disturb the stream.
func (s *Session) sendState(ctx context.Context, state State) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := s.mapRequest(state)
	req.OmitPeers = true
	resp, err := s.client.post(ctx, "/machine/map", req)
	if err != nil {
		return fmt.Errorf("sending an update: %w", err)
	}
	finish(resp) // some answer with a whole map
	return nil
}
