package meshnet

import (
	"errors"
	"slices"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
)

// authKeyFor returns a key for one node, which gets the tags.
func (m *mesh) authKeyFor(tags ...string) string {
	m.t.Helper()
	authKey, err := m.coord.CreateAuthKey(m.t.Context(), coord.AuthKeyOptions{Tags: tags})
	if err != nil {
		m.t.Fatal(err)
	}
	return authKey
}

// restarted returns s as a server of the next run, with what it has stored.
func (m *mesh) restarted(s *Server) *Server {
	m.t.Helper()
	s.Close()
	again := m.server(s.Hostname)
	again.Store, again.AuthKey, again.AdvertiseTags = s.Store, s.AuthKey, s.AdvertiseTags
	return again
}

// TestChangedAuthKeyIsApplied restarts a node with another auth key: it stays the
// node that it is, and gets what the new key gives.
func TestChangedAuthKeyIsApplied(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AuthKey = m.authKeyFor("tag:old")
	m.bringUp(s)
	before := s.Status().Self
	for _, tt := range []struct {
		sentence string
		authKey  string
		want     []string
	}{
		{"another key", m.authKeyFor("tag:new"), []string{"tag:new"}},
		{"the same key once more, which is used up", "", []string{"tag:new"}},
		{"a key for a user's node", m.authKeyFor(), nil},
	} {
		s = m.restarted(s)
		if tt.authKey != "" {
			s.AuthKey = tt.authKey
		}
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatalf("%s: %v", tt.sentence, err)
		}
		if got := status.Self; !slices.Equal(got.Tags, tt.want) || got.ID != before.ID || got.Name != before.Name {
			t.Errorf("%s: the node is %+v, was %+v", tt.sentence, got, before)
		}
	}
	if n := len(m.coord.Nodes()); n != 1 {
		t.Errorf("the coordinator knows %d nodes", n)
	}
}

// TestChangedTagsAreApplied drops a tag that the node asked for before.
func TestChangedTagsAreApplied(t *testing.T) {
	m := newMesh(t, nil)
	policy := `{"tagOwners": {"tag:a": ["autogroup:member"], "tag:b": ["autogroup:member"]}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}`
	if err := m.coord.SetPolicy(t.Context(), []byte(policy)); err != nil {
		t.Fatal(err)
	}
	s := m.server("node")
	s.AdvertiseTags = []string{"tag:a", "tag:b"}
	m.bringUp(s)
	s = m.restarted(s)
	s.AdvertiseTags = []string{"tag:b"}
	status, err := s.Up(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"tag:b"}; !slices.Equal(status.Self.Tags, want) {
		t.Errorf("the tags are %q, want %q", status.Self.Tags, want)
	}
}

// TestChangedAuthKeyThatIsRefused is told, and the former key is good again.
func TestChangedAuthKeyThatIsRefused(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	before, good := s.Status().Self, s.AuthKey
	s = m.restarted(s)
	s.AuthKey = "meshkey-nobody-made"
	for range 2 {
		var refused *RefusedError
		if _, err := s.Up(testCtx(t)); !errors.As(err, &refused) || !refused.Changed {
			t.Errorf("Up with another auth key, which is refused: %v", err)
		}
	}
	s = m.restarted(s)
	s.AuthKey = good
	status, err := s.Up(testCtx(t))
	if err != nil {
		t.Fatalf("with the former key: %v", err)
	}
	if status.Self.ID != before.ID || status.Self.Key != before.Key {
		t.Errorf("with the former key it is %+v, was %+v", status.Self, before)
	}
	s = m.restarted(s)
	s.AuthKey = "" // none is no other
	if status, err = s.Up(testCtx(t)); err != nil || status.Self.Key != before.Key {
		t.Errorf("without a key: %+v, %v", status, err)
	}
}

// TestInterruptedRenewal starts a node that was stopped during a renewal: before
// the coordinator had taken the new key, and after.
func TestInterruptedRenewal(t *testing.T) {
	m := newMesh(t, nil)
	for _, taken := range []bool{false, true} {
		s := m.server("node")
		s.AuthKey = m.authKeyFor() // for one time
		m.bringUp(s)
		before := s.Status().Self
		s.Close()
		next, err := identityOf(t, s).renewal(s.Store)
		if err != nil {
			t.Fatal(err)
		}
		want := before.Key
		if taken {
			want = next.node.Public()
			twin := m.server("node") // who renews, and does not note it
			twin.Store, twin.AuthKey = NewMemoryStore(), m.authKeyFor()
			twin.Store.Save(storedMachineKey, []byte(next.machine.Secret()))
			if err := next.saveNode(twin.Store); err != nil {
				t.Fatal(err)
			}
			m.bringUp(twin)
			twin.Close()
		}
		s = m.restarted(s)
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatalf("taken %v: %v", taken, err)
		}
		if status.Self.Key != want || status.Self.ID != before.ID || identityOf(t, s).renewing() {
			t.Errorf("taken %v: the node is %+v, was %+v", taken, status.Self, before)
		}
	}
}
