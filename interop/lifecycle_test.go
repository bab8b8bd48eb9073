package interop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
)

// loginTailnet is a testcontrol where a person admits each node.
func loginTailnet(t *testing.T) *tailnet {
	t.Helper()
	n := theirTailnet(t)
	n.control.RequireAuthKey = ""
	n.control.RequireAuth = true
	n.authKey = func(*testing.T) string { return "" }
	return n
}

// newMeshnetWithLogin makes a node that hands on the pages that a person must
// open.
func (n *tailnet) newMeshnetWithLogin(t *testing.T, hostname string) (node *meshnetNode, pages <-chan string) {
	t.Helper()
	urls := make(chan string, 10)
	node = n.newMeshnet(t, hostname)
	node.OnAuthURL = func(url string) { urls <- url }
	return node, urls
}

// openPage waits for a page and opens it, as a person would.
func (n *tailnet) openPage(t *testing.T, pages <-chan string) {
	t.Helper()
	select {
	case url := <-pages:
		equal(t, "the page is one of the coordinator's", n.control.CompleteAuth(url), true)
	case <-within(t, 10*time.Second).Done():
		t.Fatal("nobody was asked to open a page")
	}
}

func TestLoginUpSaysWhichPageToOpen(t *testing.T) {
	tailnet := loginTailnet(t)
	mesh := tailnet.newMeshnet(t, "mesh1")
	_, err := mesh.Up(within(t, 10*time.Second))
	var login *meshnet.NeedsLoginError
	if !errors.As(err, &login) || !strings.HasPrefix(login.URL, tailnet.controlURL) || login.Expired {
		t.Fatalf("Up of an unknown node returns %v", err)
	}
	equal(t, "the page is one of the coordinator's", tailnet.control.CompleteAuth(login.URL), true)
	eventually(t, "the node is in", func(ctx context.Context) error {
		_, err := mesh.Up(ctx)
		return err
	})
}

func TestLoginAgainAfterTheKeyHasExpired(t *testing.T) {
	tailnet := loginTailnet(t)
	mesh, pages := tailnet.newMeshnetWithLogin(t, "mesh1")
	peer, peerPages := tailnet.newMeshnetWithLogin(t, "mesh2")
	check(t, "mesh1 starts", mesh.Start())
	tailnet.openPage(t, pages)
	check(t, "mesh2 starts", peer.Start())
	tailnet.openPage(t, peerPages)
	for _, n := range []*meshnetNode{mesh, peer} {
		_, err := n.Up(within(t, 10*time.Second))
		check(t, n.host()+" comes up", err)
	}
	awaitPeers(t, tailnet.suffix, mesh, peer)
	tailnet.connected(t, mesh, peer)
	ip4, ip6 := mesh.ips()
	old := mesh.key()

	tailnet.expire(t, mesh)
	eventually(t, "mesh1 needs a login", func(context.Context) error {
		if state := mesh.Status().State; state != meshnet.StateNeedsLogin {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	tailnet.renewReplacements(t, mesh)
	tailnet.openPage(t, pages)
	_, err := mesh.Up(within(t, 10*time.Second))
	check(t, "mesh1 comes up again", err)
	again4, again6 := mesh.ips()
	equal(t, "its IPv4 address", again4, ip4)
	equal(t, "its IPv6 address", again6, ip6)
	if mesh.key() == old {
		t.Error("an expired key is used again")
	}
	tailnet.connected(t, mesh, peer)
}

// expire makes a node's key expire.
func (n *tailnet) expire(t *testing.T, who node) {
	t.Helper()
	known := n.control.Node(theirNodePublic(who.key()))
	known.KeyExpiry = time.Now().Add(-time.Minute)
	n.control.UpdateNode(known)
}

// renewReplacements gives the keys that replace a node's a new life: testcontrol
// makes them expire with the old one.
func (n *tailnet) renewReplacements(t *testing.T, who node) {
	t.Helper()
	for _, known := range n.control.AllNodes() {
		if known.Hostinfo.Hostname() == who.host() && known.Key != theirNodePublic(who.key()) {
			known.KeyExpiry = time.Time{}
			n.control.UpdateNode(known)
		}
	}
}

func TestLoginWithAWrongAuthKeyFailsAtOnce(t *testing.T) {
	for _, tailnet := range []*tailnet{theirTailnet(t), &ourTailnet(t).tailnet} {
		t.Run(tailnet.kind, func(t *testing.T) {
			mesh := tailnet.newMeshnet(t, "mesh1")
			mesh.AuthKey = "tskey-of-somebody-else"
			_, err := mesh.Up(within(t, 10*time.Second))
			var refused *meshnet.RefusedError
			if !errors.As(err, &refused) || refused.Reason == "" {
				t.Fatalf("Up with a wrong auth key returns %v", err)
			}
		})
	}
}

func TestLoginIsOfNoUseWhenEveryKeyHasExpired(t *testing.T) {
	s := newScripted(t)
	s.control.SetExpireAllNodes(true)
	eventually(t, "mesh1 gives up", func(context.Context) error {
		if state := s.mesh.Status().State; state != meshnet.StateFailed {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	_, err := s.mesh.Up(within(t, 10*time.Second))
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Up returns %v", err)
	}
	s.control.SetExpireAllNodes(false)
	eventually(t, "mesh1 is back", func(ctx context.Context) error {
		_, err := s.mesh.Up(ctx)
		return err
	})
}

// The second run of a node is the same node to everybody.
func TestRestartOfANode(t *testing.T) {
	for _, tailnet := range []*tailnet{theirTailnet(t), &ourTailnet(t).tailnet} {
		t.Run(tailnet.kind, func(t *testing.T) {
			ts := tailnet.startTsnet(t, "ts1")
			first := tailnet.newMeshnet(t, "mesh1")
			_, err := first.Up(within(t, 10*time.Second))
			check(t, "the first run comes up", err)
			awaitPeers(t, tailnet.suffix, first, ts)
			tailnet.connected(t, first, ts)
			wantKey, want4 := first.key(), first.Status().Self.Addresses[0]
			check(t, "the first run ends", first.Close())

			second := tailnet.newMeshnet(t, "mesh1")
			second.Store, second.AuthKey = first.Store, first.AuthKey
			_, err = second.Up(within(t, 10*time.Second))
			check(t, "the second run comes up", err)
			equal(t, "its key", second.key(), wantKey)
			equal(t, "its address", second.Status().Self.Addresses[0], want4)
			tailnet.connected(t, second, ts)
		})
	}
}

func TestLogoutOfAnEphemeralNode(t *testing.T) {
	tailnet := ourTailnet(t)
	ts := tailnet.startTsnet(t, "ts1")
	mesh := tailnet.newMeshnet(t, "mesh1")
	mesh.Ephemeral = true
	mesh.AuthKey = tailnet.newAuthKey(t, coord.AuthKeyOptions{Ephemeral: true})
	_, err := mesh.Up(within(t, 10*time.Second))
	check(t, "mesh1 comes up", err)
	awaitPeers(t, tailnet.suffix, mesh, ts)
	check(t, "mesh1 closes", mesh.Close())
	if _, ok := tailnet.known("mesh1"); ok {
		t.Error("the coordinator knows a node that has logged out")
	}
	eventually(t, "ts1 forgets mesh1", func(ctx context.Context) error {
		names, err := ts.peers(ctx)
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("it knows %v", names)
		}
		return err
	})
}

// testcontrol does nothing about a logout, but panics about what it cannot read.
func TestLogoutIsUnderstoodByTestcontrol(t *testing.T) {
	tailnet := theirTailnet(t)
	mesh := tailnet.newMeshnet(t, "mesh1")
	mesh.Ephemeral = true
	_, err := mesh.Up(within(t, 10*time.Second))
	check(t, "mesh1 comes up", err)
	check(t, "mesh1 closes", mesh.Close())
}

func TestLogoutOfATsnetNode(t *testing.T) {
	tailnet := ourTailnet(t)
	mesh, ts := tailnet.startMeshnet(t, "mesh1"), tailnet.startTsnet(t, "ts1")
	awaitPeers(t, tailnet.suffix, mesh, ts)
	check(t, "ts1 logs out", ts.local.Logout(within(t, 10*time.Second)))
	eventually(t, "mesh1 knows that ts1 is gone", func(context.Context) error {
		if peer, ok := mesh.peer("ts1"); ok && !peer.Expired {
			return fmt.Errorf("it sees %+v", peer)
		}
		return nil
	})
}

func TestExpiryOnCoordOfATsnetNode(t *testing.T) {
	tailnet := ourTailnet(t)
	mesh, ts := tailnet.startMeshnet(t, "mesh1"), tailnet.startTsnet(t, "ts1")
	awaitPeers(t, tailnet.suffix, mesh, ts)
	tailnet.connected(t, mesh, ts)
	known, _ := tailnet.known("ts1")
	check(t, "ts1 is expired", tailnet.coord().ExpireNode(t.Context(), known.ID))
	tailnet.cutOff(t, mesh, ts)
	eventually(t, "ts1 knows that it must log in", func(ctx context.Context) error {
		status, err := ts.local.StatusWithoutPeers(ctx)
		if err == nil && status.BackendState != "NeedsLogin" {
			err = fmt.Errorf("it is %s", status.BackendState)
		}
		return err
	})
}

func TestExpiryOnCoordOfAMeshnetNode(t *testing.T) {
	tailnet := ourTailnet(t)
	ts := tailnet.startTsnet(t, "ts1")
	mesh := tailnet.newMeshnet(t, "mesh1")
	mesh.AuthKey = tailnet.newAuthKey(t, coord.AuthKeyOptions{Reusable: true})
	_, err := mesh.Up(within(t, 10*time.Second))
	check(t, "mesh1 comes up", err)
	awaitPeers(t, tailnet.suffix, mesh, ts)
	before, _ := tailnet.known("mesh1")
	check(t, "mesh1 is expired", tailnet.coord().ExpireNode(t.Context(), before.ID))
	eventually(t, "mesh1 is admitted with a new key", func(context.Context) error {
		after, _ := tailnet.known("mesh1")
		if after.Key == before.Key || after.Expired {
			return fmt.Errorf("the coordinator knows %+v", after)
		}
		equal(t, "its number", after.ID, before.ID)
		equal(t, "its address", after.IPv4, before.IPv4)
		return nil
	})
	tailnet.connected(t, mesh, ts)
}

func TestRestartOfOurRelay(t *testing.T) {
	tailnet := ourTailnet(t)
	mesh, ts := tailnet.startMeshnet(t, "mesh1"), tailnet.startTsnet(t, "ts1")
	survives(t, tailnet, mesh, ts, tailnet.restartRelay)
}

func TestRestartOfOurCoordinator(t *testing.T) {
	tailnet := ourTailnet(t)
	mesh, ts := tailnet.startMeshnet(t, "mesh1"), tailnet.startTsnet(t, "ts1")
	survives(t, tailnet, mesh, ts, func() { tailnet.restart(t) })
	late := tailnet.startMeshnet(t, "mesh2") // so that there is something new to be told
	awaitPeers(t, tailnet.suffix, mesh, ts, late)
	tailnet.connected(t, ts, late)
}

// survives checks that a connection in either direction outlives what happens.
func survives(t *testing.T, tailnet *ownTailnet, mesh, ts node, happens func()) {
	t.Helper()
	awaitPeers(t, tailnet.suffix, mesh, ts)
	var connections [][2]stream
	for _, p := range []pair{{&tailnet.tailnet, mesh, ts}, {&tailnet.tailnet, ts, mesh}} {
		dialed, accepted, err := p.connect(within(t, 60*time.Second), "tcp", p.address())
		check(t, "there is a connection", err)
		t.Cleanup(func() { dialed.Close(); accepted.Close() })
		check(t, "it carries", carry(dialed, accepted, "before"))
		connections = append(connections, [2]stream{dialed, accepted})
	}
	happens()
	for _, c := range connections {
		check(t, "it carries on", carry(c[0], c[1], "after"))
		check(t, "it carries back", carry(c[1], c[0], "after that"))
	}
}
