package meshnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
)

// everything calls each method that needs a running node, and returns the
// errors by method.
func everything(ctx context.Context, s *Server) map[string]error {
	errs := make(map[string]error)
	_, errs["Up"] = s.Up(ctx)
	_, errs["Dial"] = s.Dial(ctx, "tcp", "peer:80")
	_, errs["Listen"] = s.Listen("tcp", ":80")
	_, errs["ListenPacket"] = s.ListenPacket("udp", ":53")
	_, errs["WhoIs"] = s.WhoIs(ctx, "100.64.0.1")
	errs["Start"] = s.Start()
	return errs
}

func wantClosed(t *testing.T, s *Server) {
	t.Helper()
	for method, err := range everything(t.Context(), s) {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", method, err)
		}
	}
	if got := s.Status().State; got != StateClosed {
		t.Errorf("the state after Close is %q", got)
	}
}

func TestCloseBeforeStart(t *testing.T) {
	s := &Server{}
	if got := s.Status().State; got != StateStopped {
		t.Errorf("the state before the start is %q", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, s)
}

func TestCloseTwiceAndAtOnce(t *testing.T) {
	s := newMesh(t, nil).up("node")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantClosed(t, s)
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestCloseDuringUp closes nodes that are somewhere on their way: wherever it
// hits, Up says so and nothing is left.
func TestCloseDuringUp(t *testing.T) {
	m := newMesh(t, nil)
	for range 20 {
		s := m.server("node")
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.Up(testCtx(t)); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("Up: %v", err)
			}
		})
		both.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		wantClosed(t, s)
	}
}

func TestCloseWithoutACoordinator(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // accepts nothing: whoever dials waits
	s := &Server{ControlURL: "http://" + ln.Addr().String(), Ephemeral: true}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Up(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Up with a cancelled context: %v", err)
	}
	if _, err := s.Dial(ctx, "tcp", "peer:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a cancelled context: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, s)
}

func TestCloseEndsWhatIsOpen(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := b.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	dialled, open := pair(t, a, ln, "b:7")
	defer dialled.Close()
	read, accepted, received := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := open.Read(make([]byte, 1))
		read <- err
	}()
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	go func() {
		_, _, err := packets.ReadFrom(make([]byte, 1))
		received <- err
	}()

	b.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read on a closed node: %v", err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on a closed node: %v", err)
	}
	if err := <-received; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom on a closed node: %v", err)
	}
}

func TestSecondUpIsHarmless(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	first := s.Status().Self
	for range 3 {
		status, err := s.Up(testCtx(t))
		if err != nil || status.Self.ID != first.ID || status.Self.Key != first.Key {
			t.Errorf("a further Up: %+v, %v", status, err)
		}
	}
	if n := len(m.coord.Nodes()); n != 1 {
		t.Errorf("the coordinator knows %d nodes", n)
	}
}

func TestRestartKeepsTheNode(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	before := s.Status().Self
	s.Close()

	again := m.server("node")
	again.Store, again.AuthKey = s.Store, "" // known: the key is not needed
	status, err := again.Up(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	if status.Self.ID != before.ID || status.Self.Key != before.Key || status.Self.Name != before.Name {
		t.Errorf("came back as %+v, was %+v", status.Self, before)
	}
}

func TestEphemeralNodeIsGoneAtOnceAndItsNameFree(t *testing.T) {
	m := newMesh(t, nil)
	ephemeral, err := m.coord.CreateAuthKey(coord.AuthKeyOptions{Reusable: true, Ephemeral: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := m.server("job")
		s.Ephemeral, s.AuthKey, s.Store = true, ephemeral, nil
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatal(err)
		}
		if want := "job.mesh.internal"; status.Self.Name != want {
			t.Errorf("the node is called %q, want %q", status.Self.Name, want)
		}
		s.Close()
		if left := m.coord.Nodes(); len(left) != 0 {
			t.Errorf("the coordinator still knows %v", left)
		}
	}
}
