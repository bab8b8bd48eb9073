package coord

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		ctx := t.Context()
		alice, err := ts.CreateUser(ctx, UserOptions{Login: "Alice@Example.com", Name: "Alice"})
		if err != nil || alice.Login != "alice@example.com" || alice.ID <= int64(defaultUser) {
			t.Fatalf("created %+v, %v", alice, err)
		}
		for what, o := range map[string]UserOptions{
			"a login twice":        {Login: "alice@example.com"},
			"no login":             {},
			"a login with spaces":  {Login: "a b"},
			"a login of two parts": {Login: "a@b@c"},
			"a very long name":     {Login: "a", Name: strings.Repeat("x", maxUserName+1)},
		} {
			if u, err := ts.CreateUser(ctx, o); err == nil {
				t.Errorf("%s: created %+v", what, u)
			}
		}
		authKey := ts.reusable(AuthKeyOptions{User: "alice@example.com"})
		if _, err := ts.CreateAuthKey(ctx, AuthKeyOptions{User: "bob"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an auth key of nobody: %v", err)
		}
		hers, other := ts.machine(), ts.machine()
		if resp := hers.register(request(hers.node, "hers", authKey)); resp.Login.LoginName != "alice@example.com" || resp.User.DisplayName != "Alice" {
			t.Errorf("her node is told that it is of %+v", resp)
		}
		other.join("other", ts.reusable(AuthKeyOptions{}))
		s := other.stream("")
		first := s.frame("the first frame")
		if users := first.UserProfiles; len(users) != 2 || users[0].LoginName != "user@mesh.internal" || users[1].DisplayName != "Alice" || first.Peers[0].User != users[1].ID {
			t.Errorf("the first frame shows the users %+v", users)
		}
		if err := ts.ChangeUser(ctx, "alice@example.com", UserOptions{Login: "alice"}); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("a user changes"); len(resp.UserProfiles) != 1 || resp.UserProfiles[0].LoginName != "alice@mesh.internal" || resp.PeersChanged != nil || resp.Node != nil {
			t.Errorf("a user changes: %+v", resp)
		}
		if err := ts.RemoveUser(ctx, "alice"); err == nil {
			t.Error("removed a user that has a node")
		}
		if err := ts.SetNodeUser(ctx, 1, "user"); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("a node changes hands"); len(resp.PeersChanged) != 1 || resp.PeersChanged[0].User != defaultUser {
			t.Errorf("a node changes hands: %+v", resp)
		}
		if err := ts.RemoveUser(ctx, "alice"); err == nil {
			t.Error("removed a user that has an auth key")
		}
		if err := ts.RevokeAuthKey(ctx, authKey); err != nil {
			t.Fatal(err)
		}
		if err := ts.RemoveUser(ctx, "alice@"); err != nil {
			t.Error(err)
		}
		if err := ts.RemoveUser(ctx, ""); err == nil {
			t.Error("removed the user that there always is")
		}
		if users, err := ts.Users(ctx); err != nil || len(users) != 1 {
			t.Errorf("users at the end: %+v, %v", users, err)
		}
	})
}

func TestTagsOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{KeyExpiry: time.Hour})
		authKey := ts.reusable(AuthKeyOptions{})
		a, b := ts.machine(), ts.machine()
		a.join("a", authKey)
		b.join("b", authKey)
		s := b.stream("")
		s.frame("the first frame")
		if err := ts.SetNodeTags(t.Context(), 1, []string{"tag:web", "tag:db"}); err != nil {
			t.Fatal(err)
		}
		resp := s.frame("tagged")
		if len(resp.PeersChanged) != 1 || resp.PeersChanged[0].User != taggedUser || !slices.Equal(resp.PeersChanged[0].Tags, []string{"tag:db", "tag:web"}) ||
			!resp.PeersChanged[0].KeyExpiry.IsZero() || len(resp.UserProfiles) != 1 {
			t.Errorf("tagged: %+v", resp)
		}
		if err := ts.SetNodeTags(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("no longer tagged"); resp.PeersChanged[0].User != defaultUser || resp.PeersChanged[0].Tags != nil {
			t.Errorf("no longer tagged: %+v", resp)
		}
		if err := ts.SetNodeTags(t.Context(), 1, []string{"web"}); err == nil {
			t.Error("tagged with what is no tag")
		}
		if err := ts.SetNodeTags(t.Context(), 9, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("tagged nobody: %v", err)
		}
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{KeyExpiry: time.Hour})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		s := m.stream("")
		s.frame("the first frame")
		s.frame("it expires")
		until := time.Now().Add(48 * time.Hour)
		if err := ts.RenewNode(t.Context(), 1, until); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("renewed"); resp.Node == nil || resp.Node.Expired || !resp.Node.KeyExpiry.Equal(until) {
			t.Errorf("renewed: %+v", resp)
		}
		if err := ts.RenewNode(t.Context(), 1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("for ever"); !resp.Node.KeyExpiry.IsZero() {
			t.Errorf("for ever: %+v", resp)
		}
		if err := ts.RenewNode(t.Context(), 1, time.Now()); err == nil {
			t.Error("renewed until now")
		}
	})
}

func TestApproveAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		if _, err := ts.CreateUser(t.Context(), UserOptions{Login: "alice"}); err != nil {
			t.Fatal(err)
		}
		wait := func(tags ...string) (*machine, *tailcfg.RegisterRequest) {
			m := ts.machine()
			req := request(m.node, "web", "")
			req.Hostinfo.RequestTags = tags
			req.Followup = m.register(req).AuthURL
			return m, req
		}
		m, req := wait("tag:web")
		logins, err := ts.Logins(t.Context())
		if err != nil || len(logins) != 1 || logins[0].Hostname != "web" || logins[0].Tags[0] != "tag:web" {
			t.Fatalf("logins: %+v, %v", logins, err)
		}
		if err := ts.Approve(t.Context(), logins[0].ID, ApproveOptions{User: "alice"}); err != nil {
			t.Fatal(err)
		}
		if logins, _ := ts.Logins(t.Context()); len(logins) != 0 {
			t.Errorf("an approved login can be approved again: %+v", logins)
		}
		m.register(req)
		if n := ts.Nodes()[0]; n.User != "alice" || !slices.Equal(n.Tags, []string{"tag:web"}) {
			t.Errorf("admitted as it asked: %+v", n)
		}
		m, req = wait("tag:web")
		if err := ts.Approve(t.Context(), req.Followup, ApproveOptions{Tags: []string{}}); err != nil {
			t.Fatal(err)
		}
		if resp := m.register(req); !strings.Contains(resp.Error, "tag:web") {
			t.Errorf("admitted without the tags it insists on: %+v", resp)
		}
		m, req = wait()
		if err := ts.Reject(t.Context(), req.Followup); err != nil {
			t.Fatal(err)
		}
		if resp := m.register(req); resp.AuthURL == "" || resp.AuthURL == req.Followup {
			t.Errorf("rejected: %+v, want another URL", resp)
		}
		for _, err := range []error{
			ts.Approve(t.Context(), req.Followup, ApproveOptions{}),
			ts.Reject(t.Context(), req.Followup),
			ts.Approve(t.Context(), m.register(req).AuthURL, ApproveOptions{User: "bob"}),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
		}
	})
}
