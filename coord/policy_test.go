package coord

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		ts := serve(t, Config{Store: store})
		if why := ts.Status().Policy; !strings.Contains(why, "every node may reach every other") {
			t.Errorf("without a policy the status says %q", why)
		}
		ctx := t.Context()
		web := ts.reusable(AuthKeyOptions{Tags: []string{"tag:web"}})
		db := ts.reusable(AuthKeyOptions{Tags: []string{"tag:db"}})
		a, b, c := ts.machine(), ts.machine(), ts.machine()
		a.join("a", web)
		b.join("b", db)
		c.join("c", ts.reusable(AuthKeyOptions{}))
		sa, sc := a.stream(""), c.stream("")
		if resp := sa.frame("the first frame"); len(resp.Peers) != 2 || len(resp.PacketFilters["base"]) != 1 {
			t.Errorf("without a policy: %+v", resp)
		}
		sc.frame("the first frame")
		sa.frame("the other is online")

		text := `{
			"tagOwners": {"tag:web": [], "tag:db": []},
			// the web may ask the database
			"acls": [{"action": "accept", "src": ["tag:web"], "dst": ["tag:db:5432"]}],
		}`
		if err := ts.SetPolicy(ctx, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if resp := sa.frame("a policy"); len(resp.PeersRemoved) != 1 || resp.PeersRemoved[0] != 3 || resp.PacketFilters["base"] == nil || len(resp.PacketFilters["base"]) != 0 {
			t.Errorf("the web node is told %+v", resp)
		}
		if resp := sc.frame("a policy"); len(resp.PeersRemoved) != 2 {
			t.Errorf("the node without tags is told %+v", resp)
		}
		b.join("b2", "") // the name changes
		if resp := sa.frame("a peer changes"); len(resp.PeersChanged) != 1 {
			t.Errorf("a peer changes: %+v", resp)
		}
		if resp, _ := sc.next("whom it does not concern"); !resp.KeepAlive {
			t.Errorf("whom it does not concern is told %+v", resp)
		}

		err := ts.SetPolicy(ctx, []byte("{\n\"acls\": [{\"action\": \"accept\", \"src\": [\"tag:wbe\"], \"dst\": [\"*:no\"]}]}"))
		var bad PolicyError
		if !errors.As(err, &bad) || bad.Line != 2 || bad.Reason == "" {
			t.Errorf("a bad policy: %v", err)
		}
		if err := CheckPolicy([]byte(`{"acls": [], "tests": [{"src": "a@b.c", "accept": ["*:1"]}]}`)); err == nil {
			t.Error("a test that fails was passed over")
		}
		if got, err := ts.Policy(ctx); err != nil || string(got) != text {
			t.Errorf("after a bad policy the one in force is %q, %v", got, err)
		}
		ts.stop()
		ts = serve(t, Config{Store: store})
		if why := ts.Status().Policy; strings.Contains(why, "every") {
			t.Errorf("after a restart the status says %q", why)
		}
		if err := ts.SetPolicy(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := ts.Policy(ctx); err != nil || got != nil {
			t.Errorf("after it was taken away the policy is %q, %v", got, err)
		}
	})
}

// TestRequestTags has nodes ask for tags that the policy lets their users
// apply.
func TestRequestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{Policy: []byte(`{"tagOwners": {"tag:web": ["alice@"], "tag:blog": ["tag:web"]}}`)})
		if _, err := ts.CreateUser(t.Context(), UserOptions{Login: "alice"}); err != nil {
			t.Fatal(err)
		}
		hers, others := ts.reusable(AuthKeyOptions{User: "alice"}), ts.reusable(AuthKeyOptions{})
		for _, c := range []struct {
			authKey, tag string
			ok           bool
		}{
			{hers, "tag:web", true},
			{hers, "tag:db", false},
			{others, "tag:web", false},
			{ts.reusable(AuthKeyOptions{Tags: []string{"tag:web"}}), "tag:blog", true},
			{ts.reusable(AuthKeyOptions{Tags: []string{"tag:blog"}}), "tag:web", false},
		} {
			m := ts.machine()
			req := request(m.node, "n", c.authKey)
			req.Hostinfo.RequestTags = []string{c.tag}
			if resp := m.register(req); resp.MachineAuthorized != c.ok {
				t.Errorf("%s: %+v", c.tag, resp)
			}
		}
		m := ts.machine()
		m.join("later", hers)
		req := request(m.node, "later", "")
		req.Hostinfo.RequestTags = []string{"tag:web"}
		if resp := m.register(req); !resp.MachineAuthorized || resp.User.ID != taggedUser {
			t.Errorf("a node of hers asks for a tag later: %+v", resp)
		}
		time.Sleep(time.Second)
	})
}
