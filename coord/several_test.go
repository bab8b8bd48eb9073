package coord

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// TestTwoCoordinators has two serve one tailnet from one store, with a node at
// each.
func TestTwoCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		one, two := serve(t, Config{Store: store}), serve(t, Config{Store: store})
		if one.PublicKey() != two.PublicKey() {
			t.Fatal("they have different keys")
		}
		authKey := one.reusable(AuthKeyOptions{})
		synctest.Wait() // until the other has heard of it
		a, b := one.machine(), two.machine()
		a.join("web", authKey)
		b.join("web", authKey)
		sa, sb := a.stream(""), b.stream("")
		wantPeer := func(s *testStream, what, name string) {
			t.Helper()
			for {
				resp := s.frame(what)
				for _, n := range append(resp.Peers, resp.PeersChanged...) {
					if n.Name != name+".mesh.internal." {
						t.Errorf("%s: the peer is %s", what, n.Name)
					}
					if n.Online != nil && *n.Online {
						return
					}
				}
				if len(resp.OnlineChange) > 0 {
					return
				}
			}
		}
		wantPeer(sa, "the peer at the other coordinator", "web-1")
		wantPeer(sb, "the peer at the other coordinator", "web")

		b.report(tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "web", NetInfo: &tailcfg.NetInfo{PreferredDERP: 7}}})
		if resp := sa.frame("the peer reports"); len(resp.PeersChangedPatch) != 1 || resp.PeersChangedPatch[0].DERPRegion != 7 {
			t.Errorf("the peer reports: %+v", resp)
		}
		sb.body.Close()
		if resp, after := sa.next("the peer goes"); len(resp.PeersChangedPatch) != 1 || after != offlineAfter {
			t.Errorf("the peer goes: %+v after %v", resp, after)
		}
		if err := two.RemoveNode(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if resp := sa.frame("removed at the other coordinator"); resp.Node == nil || !resp.Node.Expired {
			t.Errorf("removed at the other coordinator: %+v", resp)
		}

		waits := one.machine()
		follow := request(waits.node, "waits", "")
		follow.Followup = waits.register(follow).AuthURL
		synctest.Wait()
		approved := make(chan error, 1)
		go func() {
			time.Sleep(time.Minute)
			approved <- two.Approve(t.Context(), follow.Followup, ApproveOptions{})
		}()
		if resp := waits.register(follow); !resp.MachineAuthorized {
			t.Errorf("approved at the other coordinator: %+v", resp)
		}
		// The node may hear of it before the administrator does.
		if err := <-approved; err != nil {
			t.Error(err)
		}
	})
}

// TestCoordinatorsAtOnce has many nodes come to three coordinators at the same
// time, whose store tells of changes late, so that they are in each other's
// way.
func TestCoordinatorsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := lateStore{NewMemoryStore()}
		var coords []*testServer
		for range 3 {
			coords = append(coords, serve(t, Config{Store: store}))
		}
		often := coords[0].reusable(AuthKeyOptions{})
		once, _ := coords[0].CreateAuthKey(t.Context(), AuthKeyOptions{})
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		admitted := 0
		for i := range 30 {
			m := coords[i%3].machine()
			authKey := often
			if i < 3 {
				authKey = once
			}
			wg.Go(func() {
				if resp := m.register(request(m.node, "web", authKey)); resp.MachineAuthorized && authKey == once {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		if admitted != 1 {
			t.Errorf("a key for one node admitted %d", admitted)
		}
		first := fmt.Sprintf("%+v", coords[0].Nodes())
		for _, c := range coords {
			if got := fmt.Sprintf("%+v", c.Nodes()); got != first || strings.Count(got, "web-") != 27 {
				t.Errorf("coordinators disagree:\n%s\n%s", got, first)
			}
		}
		fresh := serve(t, Config{Store: store}) // reads it all, and finds no two of one name
		if n := len(fresh.Nodes()); n != 28 {
			t.Errorf("%d nodes", n)
		}
	})
}

// lateStore tells of commits a little later than they are made.
type lateStore struct{ Store }

func (l lateStore) Follow(ctx context.Context) ([]Entry, iter.Seq2[[]Entry, error], error) {
	all, later, err := l.Store.Follow(ctx)
	return all, func(yield func([]Entry, error) bool) {
		for commit, err := range later {
			time.Sleep(20 * time.Millisecond)
			if !yield(commit, err) {
				return
			}
		}
	}, err
}

// TestLosesTrack has a store that ends what it tells: the coordinator reads it
// anew.
func TestLosesTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		one, two := serve(t, Config{Store: store}), serve(t, Config{Store: forgetfulStore{store}})
		authKey := one.reusable(AuthKeyOptions{})
		for i := range 5 {
			m := one.machine()
			m.join("web", authKey)
			time.Sleep(2 * storePatience)
			if got := len(two.Nodes()); got != i+1 {
				t.Errorf("after %d nodes the other coordinator knows %d", i+1, got)
			}
		}
		if err := one.RemoveNode(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * storePatience)
		if got := len(two.Nodes()); got != 4 {
			t.Errorf("after one was removed the other coordinator knows %d", got)
		}
	})
}

// forgetfulStore tells of one commit, and then no more.
type forgetfulStore struct{ Store }

func (f forgetfulStore) Follow(ctx context.Context) ([]Entry, iter.Seq2[[]Entry, error], error) {
	all, later, err := f.Store.Follow(ctx)
	return all, func(yield func([]Entry, error) bool) {
		for commit, err := range later {
			yield(commit, err)
			return
		}
	}, err
}
