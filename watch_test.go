package meshnet

import (
	"context"
	"slices"
	"testing"
)

func TestWatchFollowsANodeToItsEnd(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	var states []State
	var told *Status
	for status := range s.Watch(testCtx(t)) {
		if len(states) == 0 || states[len(states)-1] != status.State {
			states = append(states, status.State)
		}
		if told = status; status.State == StateRunning && len(status.Peers) == 0 {
			m.up("peer")
		} else if status.State == StateRunning {
			go s.Close()
		}
	}
	if want := []State{StateStarting, StateRunning, StateClosed}; !slices.Equal(states, want) {
		t.Errorf("the states are %q, want %q", states, want)
	}
	if told.State != StateClosed || len(told.Peers) != 0 {
		t.Errorf("the last word is %+v", told)
	}
	for status := range s.Watch(testCtx(t)) {
		if status.State != StateClosed {
			t.Errorf("after Close: %+v", status)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := newMesh(t, nil).up("node")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range s.Watch(ctx) {
		cancel()
	}
	for range s.Watch(ctx) {
		t.Error("a context that has ended lets something through")
	}
}

func TestWatchSaysThatTheNodeCannotStart(t *testing.T) {
	s := &Server{}
	defer s.Close()
	var told []*Status
	for status := range s.Watch(testCtx(t)) {
		told = append(told, status)
	}
	if len(told) != 1 || told[0].State != StateFailed || told[0].Err == nil || len(told[0].Health) != 1 {
		t.Errorf("told %+v", told)
	}
	select {
	case <-s.Ready():
		t.Error("it is ready")
	default:
	}
}

func TestReady(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	select {
	case <-s.Ready():
	case <-testCtx(t).Done():
		t.Fatal("the node does not become ready")
	}
	if got := s.Status().State; got != StateRunning {
		t.Errorf("a node that is ready is %q", got)
	}
	s.Close()
	<-s.Ready() // it was
	failing := m.server("failing")
	failing.AuthKey = "meshkey-nobody-made"
	if _, err := failing.Up(testCtx(t)); err == nil {
		t.Fatal("came up")
	}
	select {
	case <-failing.Ready():
		t.Error("a node that was refused is ready")
	default:
	}
}
