package meshnet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

func TestBadAuthKeyFailsAtOnce(t *testing.T) {
	m := newMesh(t, nil)
	once, err := m.coord.CreateAuthKey(t.Context(), coord.AuthKeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := m.server("first")
	first.AuthKey = once
	if _, err := first.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	for why, authKey := range map[string]string{
		"an unknown key": "meshkey-nobody-made",
		"a used key":     once,
	} {
		s := m.server("second")
		s.AuthKey = authKey
		_, err := s.Up(testCtx(t))
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason == "" {
			t.Errorf("%s: %v", why, err)
			continue
		}
		if got := s.Status(); got.State != StateFailed || got.Err == nil {
			t.Errorf("%s: the status is %q, %v", why, got.State, got.Err)
		}
		if _, err := s.Dial(testCtx(t), "tcp", "first:80"); !errors.As(err, &refused) {
			t.Errorf("%s: Dial fails with %v", why, err)
		}
		if strings.Contains(err.Error(), authKey) {
			t.Errorf("%s: the error shows it: %v", why, err)
		}
	}
}

func TestUpAfterAFailureTriesAgain(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AuthKey = "meshkey-nobody-made"
	for range 3 {
		var refused *RefusedError
		if _, err := s.Up(testCtx(t)); !errors.As(err, &refused) {
			t.Fatalf("Up: %v", err)
		}
	}
}

func TestNeedsLogin(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AuthKey = ""
	_, err := s.Up(testCtx(t))
	var login *NeedsLoginError
	if !errors.As(err, &login) || !strings.HasPrefix(login.URL, "http") {
		t.Fatalf("Up: %v", err)
	}
	if login.Expired {
		t.Error("a new node is called expired")
	}
	if _, err := s.Dial(testCtx(t), "tcp", "peer:80"); !errors.As(err, &login) {
		t.Errorf("Dial: %v", err)
	}
	if got := s.Status(); got.State != StateNeedsLogin || got.AuthURL != login.URL {
		t.Errorf("the status is %q with %q", got.State, got.AuthURL)
	}
	if err := m.coord.Approve(t.Context(), login.URL, coord.ApproveOptions{}); err != nil {
		t.Fatal(err)
	}
	// The session waits in the background: Up succeeds as soon as it has heard.
	if _, err := s.running().view.wait(testCtx(t), func(v view) (bool, error) {
		return v.state == StateRunning, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Up(testCtx(t)); err != nil {
		t.Error(err)
	}
}

func TestOnAuthURL(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AuthKey = ""
	urls := make(chan string, 10)
	s.OnAuthURL = func(url string) { urls <- url }
	approved := make(chan error, 1)
	go func() { approved <- m.coord.Approve(t.Context(), <-urls, coord.ApproveOptions{}) }()
	if _, err := s.Up(testCtx(t)); err != nil {
		t.Error(err)
	}
	if err := <-approved; err != nil {
		t.Error(err)
	}
	if len(urls) > 0 {
		t.Errorf("called again with %q", <-urls)
	}
}

func TestUpSaysWhatItWaitsFor(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AuthKey = ""
	ctx, cancel := context.WithCancel(t.Context())
	s.OnAuthURL = func(string) { cancel() }
	_, err := s.Up(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "sign in") {
		t.Errorf("Up: %v", err)
	}
}

// TestExpiry lets a node expire while it is up: with an auth key it comes back
// by itself under a new key, without one it says what is needed.
func TestExpiry(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	before := s.Status().Self
	if err := m.coord.ExpireNode(t.Context(), m.coord.Nodes()[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.running().view.wait(testCtx(t), func(v view) (bool, error) {
		return v.state == StateRunning && v.netMap.Self.Key != before.Key, nil
	}); err != nil {
		t.Fatalf("did not come back: %v; the status is %+v", err, s.Status())
	}
	if after := s.Status().Self; !slices.Equal(after.Addresses, before.Addresses) || after.Name != before.Name {
		t.Errorf("came back as %+v, was %+v", after, before)
	}
}

func TestExpiredNodeSaysSo(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) { c.KeyExpiry = time.Hour })
	once := m.authKeyFor()
	s := m.server("node")
	s.AuthKey = once
	m.bringUp(s)
	s.Close()
	if err := m.coord.ExpireNode(t.Context(), m.coord.Nodes()[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why     string
		authKey string
		check   func(error) bool
	}{
		{"with the key that admitted it", once, func(err error) bool {
			var refused *RefusedError
			return errors.As(err, &refused) && refused.Expired
		}},
		{"with another key, which is refused", "meshkey-nobody-made", func(err error) bool {
			var refused *RefusedError
			return errors.As(err, &refused) && refused.Expired
		}},
		{"without a key", "", func(err error) bool {
			var login *NeedsLoginError
			return errors.As(err, &login) && login.Expired && login.URL != ""
		}},
	} {
		again := m.server("node")
		again.Store, again.AuthKey = s.Store, tt.authKey
		if _, err := again.Up(testCtx(t)); !tt.check(err) {
			t.Errorf("%s: %v", tt.why, err)
		}
		again.Close()
	}
}

func TestControlKeyIsPinned(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.ControlKey = m.coord.PublicKey().String()
	if _, err := s.Up(testCtx(t)); err != nil {
		t.Error(err)
	}
	other := newMesh(t, nil)
	s = m.server("other")
	s.ControlKey = other.coord.PublicKey().String()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		s.Start()
		s.running().view.wait(testCtx(t), func(v view) (bool, error) { return v.err != nil, nil })
		cancel()
	}()
	if _, err := s.Up(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connecting to the coordinator") {
		t.Errorf("Up with a coordinator that has another key than the pinned one: %v", err)
	}
	if n := len(m.coord.Nodes()); n != 1 {
		t.Errorf("the coordinator knows %d nodes", n)
	}
}

func TestRememberedControlKeyMayNotChange(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	s.Close()
	m.control.stop()
	m.cfg.Store = coord.NewMemoryStore() // set up anew
	m.startCoord()
	again := m.server("node")
	again.Store = s.Store
	if _, err := again.Up(testCtx(t)); !errors.Is(err, ErrControlKeyChanged) {
		t.Errorf("Up: %v", err)
	}
}
