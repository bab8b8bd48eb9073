package meshnet

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/key"
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

// TestCloseDuringEverything closes nodes that are up, and some that have
// failed, under every other call.
func TestCloseDuringEverything(t *testing.T) {
	m := newMesh(t, nil)
	for i := range 10 {
		s := m.server("node")
		if i%2 == 1 {
			s.AuthKey = "meshkey-nobody-made"
		}
		s.Up(testCtx(t))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for method, err := range everything(testCtx(t), s) {
					if errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s hangs: %v", method, err)
					}
				}
				s.IPs()
				s.Status()
			})
		}
		all.Go(func() { s.Close() })
		all.Wait()
		wantClosed(t, s)
	}
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	s := noCoordinator(t)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 3)
	go func() { _, err := s.Up(testCtx(t)); results <- err }()
	go func() { _, err := s.Dial(testCtx(t), "udp", "peer:80"); results <- err }()
	go func() { _, err := s.WhoIs(testCtx(t), "100.64.0.1"); results <- err }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range cap(results) {
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a call that waited at Close: %v", err)
		}
	}
}

// noCoordinator returns a node whose coordinator takes connections and says
// nothing.
func noCoordinator(t *testing.T) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{ControlURL: "http://" + ln.Addr().String(), Ephemeral: true}
	t.Cleanup(func() {
		s.Close()
		ln.Close()
	})
	return s
}

func TestContextsEndTheWaitForTheCoordinator(t *testing.T) {
	s := noCoordinator(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, network := range []string{"tcp", "udp"} {
		for ctx, timeout := range map[context.Context]bool{cancelled: false, late: true} {
			conn, err := s.Dial(ctx, network, "100.64.0.2:80")
			op, ok := err.(*net.OpError)
			if !ok || op.Op != "dial" || op.Net != network || !errors.Is(err, ctx.Err()) || op.Timeout() != timeout {
				t.Errorf("Dial %s: %#v", network, err)
			}
			if conn != nil {
				t.Errorf("Dial %s: a connection comes with the error", network)
			}
			if _, err := s.Up(ctx); !errors.Is(err, ctx.Err()) || !strings.Contains(err.Error(), "waiting for the coordinator") {
				t.Errorf("Up: %v", err)
			}
			if _, err := s.WhoIs(ctx, "100.64.0.2"); !errors.Is(err, ctx.Err()) {
				t.Errorf("WhoIs: %v", err)
			}
		}
	}
	if got := s.Status().State; got != StateStarting {
		t.Errorf("the state is %q", got)
	}
}

func TestCloseWithoutACoordinator(t *testing.T) {
	s := noCoordinator(t)
	if _, err := s.Listen("tcp", ":80"); err != nil { // does not wait
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, s)
}

// TestUpAloneAndWithoutARelay has neither peers nor a relay that answers: the
// node is a member all the same, and says so.
func TestUpAloneAndWithoutARelay(t *testing.T) {
	m := newMesh(t, nil)
	m.relay.stop()
	defer m.startRelay() // for the end of the test
	s := m.server("node")
	if _, err := s.WhoIs(testCtx(t), "100.64.0.1"); err != nil { // waits for membership, not for the relay
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no time for the relay
	if status, err := s.Up(ctx); err != nil || status.State != StateRunning {
		t.Errorf("Up: %+v, %v", status, err)
	}
}

func TestEveryCallStartsTheNode(t *testing.T) {
	m := newMesh(t, nil)
	b := m.server("b")
	echo(t, b, "tcp")
	if _, err := b.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	a := m.server("a")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatalf("Dial is the first call: %v", err)
	}
	conn.Close()
	c := m.server("c")
	echo(t, c, "udp") // ListenPacket
	if c.running() == nil {
		t.Error("ListenPacket is the first call, and does not start the node")
	}
	b4, _ := b.IPs()
	who, err := m.server("d").WhoIs(testCtx(t), b4.String())
	if err != nil || who.Node.Name != "b.mesh.internal" {
		t.Errorf("WhoIs is the first call: %+v, %v", who, err)
	}
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

func TestDirKeepsTheNode(t *testing.T) {
	m := newMesh(t, nil)
	dir := t.TempDir()
	var keys []key.NodePublic
	for range 2 {
		s := m.server("node")
		s.Store, s.Dir = nil, dir
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, status.Self.Key)
		s.Close()
	}
	if keys[0] != keys[1] {
		t.Error("the node's key is not kept")
	}
}

func TestOneTimeAuthKeyAcrossRestarts(t *testing.T) {
	m := newMesh(t, nil)
	once, err := m.coord.CreateAuthKey(t.Context(), coord.AuthKeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	store := NewMemoryStore()
	for range 3 {
		s := m.server("node")
		s.Store, s.AuthKey = store, once+"\n"
		if _, err := s.Up(testCtx(t)); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if n := len(m.coord.Nodes()); n != 1 {
		t.Errorf("the coordinator knows %d nodes", n)
	}
}

func TestLostStateMakesAnotherNodeWithAnotherName(t *testing.T) {
	m := newMesh(t, nil)
	var names []string
	for range 2 {
		s := m.server("node") // with an empty store
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, status.Self.Name)
		s.Close()
	}
	if want := []string{"node.mesh.internal", "node-1.mesh.internal"}; !slices.Equal(names, want) {
		t.Errorf("the names are %q, want %q", names, want)
	}
}

func TestEphemeralNodeIsGoneAtOnceAndItsNameFree(t *testing.T) {
	m := newMesh(t, nil)
	ephemeral, err := m.coord.CreateAuthKey(t.Context(), coord.AuthKeyOptions{Reusable: true, Ephemeral: true})
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
