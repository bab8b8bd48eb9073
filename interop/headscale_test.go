package interop

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
)

// Case 4: Headscale's coordinator and Tailscale's relay.
func TestMatrixOnHeadscale(t *testing.T) {
	h := startHeadscale(t)
	runMatrix(t, &h.tailnet,
		h.startMeshnet(t, "mesh1"),
		h.startRelayed(t, "mesh2"),
		h.startTsnet(t, "ts1"))
}

// Nodes come back by themselves after their coordinator was away, and the
// connections between them do not notice.
func TestHeadscaleRestarts(t *testing.T) {
	h := startHeadscale(t)
	mesh1, ts1 := h.startMeshnet(t, "mesh1"), h.startTsnet(t, "ts1")
	mesh2 := h.withKey(h.newAuthKey(t, "--ephemeral")).startMeshnet(t, "mesh2")
	awaitPeers(t, h.suffix, mesh1, mesh2, ts1)
	talks := []*talk{
		startTalk(t, h, mesh1, mesh2),
		startTalk(t, h, mesh1, ts1),
		startTalk(t, h, ts1, mesh1),
	}
	for _, end := range []struct {
		how, newcomer string
		do            func(*testing.T)
	}{
		{"stop", "new1", func(t *testing.T) { check(t, "Headscale stops", h.stop()) }},
		{"crash", "new2", h.crash},
	} {
		t.Run(end.how, func(t *testing.T) {
			end.do(t)
			h.scenario(t, "all", "all", "talk during a "+end.how, func(t *testing.T) {
				continueAll(t, talks)
			})
			h.start(t)
			h.scenario(t, "all", end.newcomer, "know a newcomer after a "+end.how, func(t *testing.T) {
				newcomer := h.startMeshnet(t, end.newcomer)
				for _, n := range []node{mesh1, mesh2, ts1} {
					meet(t, h, n, newcomer)
				}
			})
			h.scenario(t, "all", "all", "talk on after a "+end.how, func(t *testing.T) {
				continueAll(t, talks)
			})
			h.scenario(t, "all", "headscale", "are online after a "+end.how, func(t *testing.T) {
				for _, n := range []node{mesh1, mesh2, ts1} {
					h.awaitNode(t, n.host(), "is online", func(n headscaleNode) bool { return n.Online })
				}
			})
		})
	}
}

// A node that has lost its membership says so, and comes back with a new key.
func TestHeadscaleExpires(t *testing.T) {
	h := startHeadscale(t)
	ts1 := h.startTsnet(t, "ts1")

	h.scenario(t, "headscale", "mesh1", "expires; used key refused, new taken", func(t *testing.T) {
		mesh1 := h.startMeshnet(t, "mesh1")
		ip4, ip6 := mesh1.IPs()
		h.expire(t, "mesh1")
		awaitState(t, mesh1, meshnet.StateFailed)

		_, err := mesh1.Up(within(t, 10*time.Second))
		var refused *meshnet.RefusedError
		if !errors.As(err, &refused) || !refused.Expired {
			t.Fatalf("Up with a used key says %v (%T), not that the node has expired and is refused", err, err)
		}
		t.Log(err)

		again := h.nextRun(t, mesh1, h.newAuthKey(t))
		_, err = again.Up(within(t, 20*time.Second))
		check(t, "the node comes up with a new auth key", err)
		again4, again6 := again.IPs()
		equal(t, "its address", again4, ip4)
		equal(t, "its IPv6 address", again6, ip6)
		meet(t, h, again, ts1)
	})

	h.scenario(t, "headscale", "mesh2", "expires; reusable key renews it", func(t *testing.T) {
		mesh2 := h.withKey(h.newAuthKey(t, "--reusable")).startMeshnet(t, "mesh2")
		awaitPeers(t, h.suffix, mesh2, ts1)
		meet(t, h, mesh2, ts1)
		before := mesh2.key()
		h.expire(t, "mesh2")
		eventually(t, "mesh2 runs under a new key", func(context.Context) error {
			status := mesh2.Status()
			if status.State != meshnet.StateRunning || status.Self.Key == before {
				return fmt.Errorf("it is %s under %v, which was %v: %v", status.State, status.Self.Key, before, status.Err)
			}
			return nil
		})
		meet(t, h, mesh2, ts1)
	})

	h.scenario(t, "headscale", "mesh3", "expires; a person renews it", func(t *testing.T) {
		first := h.startMeshnet(t, "mesh3")
		mesh3 := h.nextRun(t, first, "")
		_, err := mesh3.Up(within(t, 20*time.Second))
		check(t, "a known node comes up without an auth key", err)
		ip4, _ := mesh3.IPs()
		h.expire(t, "mesh3")
		awaitState(t, mesh3, meshnet.StateNeedsLogin)

		_, err = mesh3.Up(within(t, 10*time.Second))
		var login *meshnet.NeedsLoginError
		if !errors.As(err, &login) || !login.Expired {
			t.Fatalf("Up of the expired node says %v (%T), not that a person must sign in again", err, err)
		}
		h.letIn(t, login.URL)
		awaitState(t, mesh3, meshnet.StateRunning)
		again, _ := mesh3.IPs()
		equal(t, "its address", again, ip4)
		meet(t, h, mesh3, ts1)
	})
}

// A person lets in a node that has no auth key.
func TestHeadscaleLogin(t *testing.T) {
	h := startHeadscale(t)

	h.scenario(t, "mesh1", "headscale", "Up returns the login page", func(t *testing.T) {
		mesh1 := h.withKey("").newMeshnet(t, "mesh1")
		_, err := mesh1.Up(within(t, 10*time.Second))
		var login *meshnet.NeedsLoginError
		if !errors.As(err, &login) || login.Expired {
			t.Fatalf("Up without a key says %v (%T), not that a person must sign in", err, err)
		}
		equal(t, "the page of the status", mesh1.Status().AuthURL, login.URL)
		h.letIn(t, login.URL)
		awaitState(t, mesh1, meshnet.StateRunning)
		_, err = mesh1.Up(within(t, 10*time.Second))
		check(t, "Up succeeds after the login", err)
	})

	h.scenario(t, "mesh2", "headscale", "OnAuthURL gets the login page", func(t *testing.T) {
		mesh2 := h.withKey("").newMeshnet(t, "mesh2")
		pages := make(chan string, 10)
		mesh2.OnAuthURL = func(url string) { pages <- url }
		check(t, "the node starts", mesh2.Start())
		ctx := within(t, 30*time.Second)
		select {
		case page := <-pages:
			h.letIn(t, page)
		case <-ctx.Done():
			t.Fatalf("OnAuthURL was not called: %+v", mesh2.Status())
		}
		_, err := mesh2.Up(ctx)
		check(t, "Up waits for the login", err)
	})
}

// An ephemeral node is forgotten when it closes; another one that is told to
// log out must be let in anew.
func TestHeadscaleLogout(t *testing.T) {
	h := startHeadscale(t)
	mesh1, ts1 := h.startMeshnet(t, "mesh1"), h.startTsnet(t, "ts1")

	h.scenario(t, "mesh2", "headscale", "ephemeral; forgotten at Close", func(t *testing.T) {
		mesh2 := h.withKey(h.newAuthKey(t, "--ephemeral")).newMeshnet(t, "mesh2")
		mesh2.Ephemeral, mesh2.Store = true, nil
		_, err := mesh2.Up(within(t, 20*time.Second))
		check(t, "mesh2 comes up", err)
		equal(t, "Headscale takes mesh2 for ephemeral", h.nodes(t)["mesh2"].AuthKey.Ephemeral, true)
		awaitPeers(t, h.suffix, mesh2, mesh1, ts1)

		check(t, "mesh2 closes", mesh2.Close())
		eventually(t, "Headscale forgets mesh2", func(context.Context) error {
			if n, ok := h.nodes(t)["mesh2"]; ok {
				return fmt.Errorf("it knows %+v", n)
			}
			return nil
		})
		awaitNoPeer(t, mesh1, fullName(mesh2, h.suffix))
		awaitNoPeer(t, ts1, fullName(mesh2, h.suffix))
	})

	h.scenario(t, "mesh3", "headscale", "logs out; must be let in anew", func(t *testing.T) {
		mesh3 := h.newMeshnet(t, "mesh3")
		mesh3.Ephemeral = true // with Headscale the key decides, and this one says no
		_, err := mesh3.Up(within(t, 20*time.Second))
		check(t, "mesh3 comes up", err)
		ip4, _ := mesh3.IPs()
		check(t, "mesh3 closes", mesh3.Close())
		h.awaitNode(t, "mesh3", "is logged out", headscaleNode.expired)

		again := h.nextRun(t, mesh3, "")
		_, err = again.Up(within(t, 10*time.Second))
		var login *meshnet.NeedsLoginError
		if !errors.As(err, &login) {
			t.Fatalf("Up after the logout says %v (%T), not that a person must sign in", err, err)
		}
		again = h.nextRun(t, again, h.newAuthKey(t))
		_, err = again.Up(within(t, 20*time.Second))
		check(t, "mesh3 comes up with a new key", err)
		again4, _ := again.IPs()
		equal(t, "its address", again4, ip4)
		meet(t, h, again, ts1)
	})
}

// The key is needed once: a node's next run is the same node.
func TestHeadscaleKnowsANodeAgain(t *testing.T) {
	h := startHeadscale(t)
	authKey := h.newAuthKey(t)
	mesh1, ts1 := h.withKey(authKey).startMeshnet(t, "mesh1"), h.startTsnet(t, "ts1")
	ip4, ip6 := mesh1.IPs()
	for _, run := range []struct{ what, authKey string }{
		{"with the used key", authKey},
		{"without a key", ""},
	} {
		h.scenario(t, "mesh1", "headscale", "runs again "+run.what, func(t *testing.T) {
			again := h.nextRun(t, mesh1, run.authKey)
			_, err := again.Up(within(t, 20*time.Second))
			check(t, "mesh1 comes up again", err)
			again4, again6 := again.IPs()
			equal(t, "its address", again4, ip4)
			equal(t, "its IPv6 address", again6, ip6)
			meet(t, h, again, ts1)
		})
	}
}

// A node renews its key while it is up, takes another auth key at a restart, and
// gives its key back. It is the same node all the time.
func TestHeadscaleRenews(t *testing.T) {
	h := startHeadscale(t)
	ts1 := h.startTsnet(t, "ts1")
	mesh1 := h.withKey(h.newAuthKey(t, "--reusable")).startMeshnet(t, "mesh1")
	ip4, _ := mesh1.IPs()
	key := mesh1.key()
	renewed := func(t *testing.T, n *meshnetNode) {
		t.Helper()
		now4, _ := n.IPs()
		equal(t, "its address", now4, ip4)
		if n.key() == key {
			t.Error("it has the key of before")
		}
		key = n.key()
		meet(t, h, n, ts1)
	}
	h.scenario(t, "mesh1", "headscale", "renews its key", func(t *testing.T) {
		talks := []*talk{startTalk(t, h, ts1, mesh1)}
		check(t, "Reauth", mesh1.Reauth(within(t, 20*time.Second)))
		renewed(t, mesh1)
		continueAll(t, talks)
	})
	h.scenario(t, "mesh1", "headscale", "another key; logs out, joins again", func(t *testing.T) {
		again := h.nextRun(t, mesh1, h.newAuthKey(t, "--reusable"))
		_, err := again.Up(within(t, 20*time.Second))
		check(t, "mesh1 comes up with another key", err)
		renewed(t, again)
		check(t, "Logout", again.Logout(within(t, 20*time.Second)))
		_, err = again.Up(within(t, 20*time.Second))
		check(t, "mesh1 comes up after the logout", err)
		renewed(t, again)
	})
}

// Headscale does not tell a node that it has been deleted. The node finds out
// when it connects again, and joins again if its key allows it.
func TestHeadscaleDeletes(t *testing.T) {
	h := startHeadscale(t)
	ts1 := h.startTsnet(t, "ts1")
	mesh1 := h.withKey(h.newAuthKey(t, "--reusable")).startMeshnet(t, "mesh1")
	mesh2 := h.startMeshnet(t, "mesh2")
	// With the last peer of a node gone Headscale sends that node an empty
	// list, which is to say nothing; so that one more stays.
	mesh3 := h.startMeshnet(t, "mesh3")
	awaitPeers(t, h.suffix, mesh1, mesh2, mesh3, ts1)

	h.scenario(t, "headscale", "all", "forget nodes that are deleted", func(t *testing.T) {
		h.remove(t, "mesh1")
		h.remove(t, "mesh2")
		for _, n := range []node{mesh3, ts1} {
			awaitNoPeer(t, n, fullName(mesh1, h.suffix))
			awaitNoPeer(t, n, fullName(mesh2, h.suffix))
		}
	})
	check(t, "Headscale stops", h.stop())
	h.start(t)
	h.scenario(t, "headscale", "mesh1", "deleted; reusable key joins again", func(t *testing.T) {
		meet(t, h, mesh1, ts1)
	})
	h.scenario(t, "headscale", "mesh2", "deleted; used key is refused", func(t *testing.T) {
		awaitState(t, mesh2, meshnet.StateFailed)
		_, err := mesh2.Up(within(t, 10*time.Second))
		var refused *meshnet.RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("Up of the deleted node says %v (%T), not that it is refused", err, err)
		}
	})
}

// The policy of the coordinator is what the node enforces.
func TestHeadscalePolicy(t *testing.T) {
	h := startHeadscale(t)
	mesh1, mesh2, ts1 := h.startMeshnet(t, "mesh1"), h.startMeshnet(t, "mesh2"), h.startTsnet(t, "ts1")
	awaitPeers(t, h.suffix, mesh1, mesh2, ts1)
	dialers := []node{mesh2, ts1}
	talks := []*talk{startTalk(t, h, mesh2, mesh1), startTalk(t, h, ts1, mesh1)}

	h.scenario(t, "all", "mesh1", "reach only the port of the policy", func(t *testing.T) {
		h.setPolicy(t, `{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:80"]}]}`)
		for _, from := range dialers {
			h.awaitReach(t, from, mesh1, ":81", false)
			h.awaitReach(t, from, mesh1, ":80", true)
		}
	})
	h.scenario(t, "all", "mesh1", "talk on under another policy", func(t *testing.T) {
		continueAll(t, talks)
	})
	h.scenario(t, "all", "mesh1", "reach every port again", func(t *testing.T) {
		h.setPolicy(t, `{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}`)
		for _, from := range dialers {
			h.awaitReach(t, from, mesh1, ":81", true)
		}
	})
}

// Up fails at once, and says why, when the key is no good.
func TestHeadscaleRefuses(t *testing.T) {
	h := startHeadscale(t)
	used := h.newAuthKey(t)
	h.withKey(used).startMeshnet(t, "mesh1")
	expired := h.newAuthKey(t)
	h.command(t, nil, "preauthkeys", "expire", "--user", h.user, expired)

	for _, test := range []struct{ what, authKey, reason string }{
		{"an unknown key", "0123456789abcdef0123456789abcdef0123456789abcdef", "AuthKey not found"},
		{"a used key", used, "authkey already used"},
		{"an expired key", expired, "authkey expired"},
	} {
		h.scenario(t, "mesh2", "headscale", "is refused with "+test.what, func(t *testing.T) {
			mesh2 := h.withKey(test.authKey).newMeshnet(t, "mesh2")
			start := time.Now()
			_, err := mesh2.Up(within(t, 20*time.Second))
			var refused *meshnet.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.reason) {
				t.Fatalf("Up with %s says %v (%T), and not that it is refused: %s", test.what, err, err, test.reason)
			}
			t.Logf("after %v: %v", time.Since(start).Round(time.Millisecond), err)
			if strings.Contains(err.Error(), test.authKey) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// scenario runs one part of a story as a test of its own and writes its result
// into the table.
func (h *headscale) scenario(t *testing.T, from, to, what string, f func(*testing.T)) {
	t.Run(what, func(t *testing.T) {
		start := time.Now()
		defer func() {
			r := row{tailnet: h.kind, from: from, to: to, what: what}
			r.note = fmt.Sprintf("%.1f s", time.Since(start).Seconds())
			if t.Failed() {
				r.err = fmt.Errorf("see %s", t.Name())
			}
			matrix.add(r)
		}()
		f(t)
	})
}

// nextRun ends a node and makes it again, not started yet, with what it has
// stored.
func (h *headscale) nextRun(t *testing.T, n *meshnetNode, authKey string) *meshnetNode {
	t.Helper()
	check(t, n.host()+" closes", n.Close())
	again := h.withKey(authKey).newMeshnet(t, n.Hostname)
	again.Store = n.Store
	return again
}

// letIn does what the person does whom a login page tells to.
func (h *headscale) letIn(t *testing.T, page string) {
	t.Helper()
	h.command(t, nil, "nodes", "register", "--user", "alice", "--key", path.Base(page))
}

// awaitNode waits until Headscale says that of a node.
func (h *headscale) awaitNode(t *testing.T, host, what string, is func(headscaleNode) bool) {
	t.Helper()
	eventually(t, host+" "+what, func(context.Context) error {
		n, ok := h.nodes(t)[host]
		if !ok || !is(n) {
			return fmt.Errorf("Headscale says %+v", n)
		}
		return nil
	})
}

// awaitState waits until a node is in that state.
func awaitState(t *testing.T, n *meshnetNode, want meshnet.State) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is in the state %q", n.host(), want), func(context.Context) error {
		if status := n.Status(); status.State != want {
			return fmt.Errorf("it is %q: %v", status.State, status.Err)
		}
		return nil
	})
}

// awaitNoPeer waits until a node no longer knows one of that name.
func awaitNoPeer(t *testing.T, n node, name string) {
	t.Helper()
	eventually(t, n.host()+" forgets "+name, func(ctx context.Context) error {
		names, err := n.peers(ctx)
		if err != nil {
			return err
		}
		for _, known := range names {
			if known == name {
				return errors.New("it knows it")
			}
		}
		return nil
	})
}

// meet checks that two nodes reach each other, whichever dials.
func meet(t *testing.T, h *headscale, a, b node) {
	t.Helper()
	awaitPeers(t, h.suffix, a, b)
	for _, p := range []pair{{&h.tailnet, a, b}, {&h.tailnet, b, a}} {
		if err := p.tcpEcho(within(t, 30*time.Second), "tcp", fullName(p.to, h.suffix)); err != nil {
			t.Fatalf("%s does not reach %s: %v", p.from.host(), p.to.host(), err)
		}
	}
}

// awaitReach waits until a port of a node can be reached by another, or cannot.
func (h *headscale) awaitReach(t *testing.T, from node, to *meshnetNode, port string, want bool) {
	t.Helper()
	ln, err := to.Listen("tcp", port)
	check(t, to.host()+" listens", err)
	defer ln.Close()
	eventually(t, fmt.Sprintf("that %s reaches %s%s is %v", from.host(), to.host(), port, want), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c, err := from.dial(ctx, "tcp", fullName(to, h.suffix)+port)
		if err == nil {
			c.Close()
		}
		if reached := err == nil; reached != want {
			return fmt.Errorf("dialing: %v", err)
		}
		return nil
	})
}

// talk is a TCP connection that stays open.
type talk struct {
	pair
	dialed, accepted stream
	sentences        int
}

func startTalk(t *testing.T, h *headscale, from, to node) *talk {
	t.Helper()
	p := pair{&h.tailnet, from, to}
	dialed, accepted, err := p.connect(within(t, 2*time.Minute), "tcp", fullName(to, h.suffix))
	check(t, from.host()+" connects to "+to.host(), err)
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return &talk{p, dialed, accepted, 0}
}

// continueAll says something in every talk, and answers it.
func continueAll(t *testing.T, talks []*talk) {
	t.Helper()
	for _, k := range talks {
		k.sentences++
		sentence := fmt.Sprintf("sentence %d", k.sentences)
		what := k.from.host() + " talks to " + k.to.host()
		check(t, what, carry(k.dialed, k.accepted, sentence))
		check(t, what+", who answers", carry(k.accepted, k.dialed, sentence))
	}
}
