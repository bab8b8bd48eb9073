package meshnet

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// wantEcho sends bytes through a connection and back.
func wantEcho(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReauthRenewsTheKey renews the key of a node, whose connections live on.
func TestReauthRenewsTheKey(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) { c.KeyExpiry = time.Hour })
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	dialled, accepted := pair(t, a, ln, "b:7")
	defer dialled.Close()
	before := b.Status().Self
	for range 2 {
		if err := b.Reauth(testCtx(t)); err != nil {
			t.Fatal(err)
		}
		after := b.Status().Self
		if after.Key == before.Key || after.ID != before.ID || !slices.Equal(after.Addresses, before.Addresses) || !after.KeyExpiry.After(before.KeyExpiry) {
			t.Errorf("renewed %+v to %+v", before, after)
		}
		if id := identityOf(t, b); id.node.Public() != after.Key || id.renewing() {
			t.Error("the new key is not what is stored")
		}
		wantEcho(t, accepted, dialled) // in this order: a's next handshake within 20 ms would be a flood to b
		before = after
	}
}

func TestReauthIsRefused(t *testing.T) {
	m := newMesh(t, nil)
	once, err := m.coord.CreateAuthKey(t.Context(), coord.AuthKeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := m.server("node")
	s.AuthKey = once
	m.bringUp(s)
	before := s.Status().Self
	var refused *RefusedError
	if err := s.Reauth(testCtx(t)); !errors.As(err, &refused) {
		t.Errorf("Reauth with a used key: %v", err)
	}
	status, err := s.Up(testCtx(t))
	if err != nil || status.Self.Key != before.Key {
		t.Errorf("after a refused renewal: %+v, %v", status, err)
	}
	if id := identityOf(t, s); id.node.Public() != before.Key || id.renewing() {
		t.Error("a refused renewal leaves another key in the store")
	}
}

// TestReauthByAPerson renews a key by a login: meanwhile the node is up.
func TestReauthByAPerson(t *testing.T) {
	for _, told := range []bool{true, false} {
		m := newScripted(t)
		visited := make(chan struct{})
		m.register = func(req *tailcfg.RegisterRequest) *tailcfg.RegisterResponse {
			if req.OldNodeKey.IsZero() {
				return nil
			}
			if req.Followup == "" {
				return &tailcfg.RegisterResponse{AuthURL: "https://login.example/1"}
			}
			<-visited
			return nil
		}
		s := m.server("node")
		s.AuthKey = ""
		urls := make(chan string, 1)
		if told {
			s.OnAuthURL = func(url string) { urls <- url }
		}
		if _, err := s.Up(testCtx(t)); err != nil {
			t.Fatal(err)
		}
		before := s.Status().Self.Key
		renewed := make(chan error, 1)
		go func() { renewed <- s.Reauth(testCtx(t)) }()
		if told {
			<-urls
		} else {
			var login *NeedsLoginError
			if err := <-renewed; !errors.As(err, &login) || login.URL != "https://login.example/1" {
				t.Errorf("Reauth without OnAuthURL: %v", err)
			}
		}
		if got := s.Status(); got.State != StateRunning || got.AuthURL == "" || got.Self.Key != before {
			t.Errorf("the status while a person is asked: %+v", got)
		}
		close(visited)
		if told {
			if err := <-renewed; err != nil {
				t.Errorf("Reauth: %v", err)
			}
		}
		eventually(t, "the key is renewed", func() bool { return s.Status().Self.Key != before })
		if got := s.Status(); got.State != StateRunning || got.AuthURL != "" {
			t.Errorf("the status afterwards: %+v", got)
		}
	}
}

func TestReauthOfANodeThatIsNotUp(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	if err := s.Reauth(testCtx(t)); err == nil {
		t.Error("a node that is not started renews its key")
	}
	s.AuthKey = "meshkey-nobody-made"
	s.Up(testCtx(t))
	var refused *RefusedError
	if err := s.Reauth(testCtx(t)); !errors.As(err, &refused) {
		t.Errorf("Reauth of a node that has failed: %v", err)
	}
	s.Close()
	if err := s.Reauth(testCtx(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Reauth after Close: %v", err)
	}
	lost := noCoordinator(t)
	lost.Start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lost.Reauth(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Reauth without a coordinator: %v", err)
	}
}

// TestLogout logs out, and joins again: as the node that it was, but with
// another key.
func TestLogout(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	before := b.Status().Self
	if err := b.Logout(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if got := b.Status(); got.State != StateLoggedOut || len(got.Peers) > 0 {
		t.Errorf("the status after Logout: %+v", got)
	}
	if _, err := b.Dial(testCtx(t), "tcp", "a:7"); !errors.Is(err, ErrLoggedOut) {
		t.Errorf("Dial after Logout: %v", err)
	}
	eventually(t, "its peer knows", func() bool {
		return !slices.ContainsFunc(a.Status().Peers, func(p PeerStatus) bool { return p.Key == before.Key && !p.Expired })
	})
	if err := b.Logout(testCtx(t)); err != nil {
		t.Errorf("logging out again: %v", err)
	}
	status, err := b.Up(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	if status.Self.ID != before.ID || status.Self.Key == before.Key {
		t.Errorf("came back as %+v, was %+v", status.Self, before)
	}
	echo(t, b, "tcp")
	eventually(t, "they know the new key", func() bool { return slices.ContainsFunc(a.Status().Peers, b.is) })
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestLogoutOfAnEphemeralNode(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("job")
	s.Ephemeral = true
	m.bringUp(s)
	if err := s.Logout(testCtx(t)); err != nil {
		t.Error(err)
	}
	if left := m.coord.Nodes(); len(left) != 0 {
		t.Errorf("the coordinator still knows %v", left)
	}
}

// TestLogoutUnheard fails to log out while the coordinator is down, and is still
// a member when it is back.
func TestLogoutUnheard(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	before := s.Status().Self.Key
	m.control.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Logout(ctx); err == nil {
		t.Error("logged out at a coordinator that is down")
	}
	m.startCoord()
	eventually(t, "it is back", func() bool {
		status := s.Status()
		return status.State == StateRunning && s.running().view.load().lost == nil
	})
	if got := s.Status().Self.Key; got != before {
		t.Error("another key after a Logout that has failed")
	}
}
