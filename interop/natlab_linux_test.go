package interop

import (
	"flag"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/key"
)

var rounds = flag.Int("rounds", 3, "how often every two sites of the NAT laboratory meet")

// TestNATLaboratory has meshnet and tsnet nodes call each other between sites of
// every two kinds, and compares who gets a direct path with what two tsnet nodes
// do.
func TestNATLaboratory(t *testing.T) {
	lab := newLaboratory(t)
	t.Run("rounds", func(t *testing.T) {
		for i := range *rounds {
			t.Run(fmt.Sprint(i+1), lab.round)
		}
	})
	for _, p := range lab.pairs() {
		if err := lab.table.verdict(p); err != nil {
			t.Error(err)
		}
	}
	lab.table.print(os.Stdout, lab.kinds)
}

// laboratory is an internet with two sites of every kind. From one its nodes
// call, and in the other they are called, so that no two nodes have met before
// they meet in their call.
type laboratory struct {
	internet         *labInternet
	kinds            []string
	callers, callees map[string]*site // by kind
	starting         chan struct{}    // holds as many as may begin a call at once
	table            labTable
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: make deps installs it", program)
		}
	}
	l := &laboratory{
		internet: newLabInternet(t),
		callers:  make(map[string]*site),
		callees:  make(map[string]*site),
		starting: make(chan struct{}, 4),
	}
	for i, kind := range siteKinds {
		l.kinds = append(l.kinds, kind.name)
		l.callers[kind.name] = newSite(t, l.internet.namespace, kind, 2*i+1)
		l.callees[kind.name] = newSite(t, l.internet.namespace, kind, 2*i+2)
	}
	return l
}

// pairs returns all there are. Those that follow each other are on different
// sites.
func (l *laboratory) pairs() []labPair {
	var pairs []labPair
	for shift := range l.kinds {
		for i, from := range l.kinds {
			for _, s := range softwarePairs {
				pairs = append(pairs, labPair{s[0], s[1], from, l.kinds[(i+shift)%len(l.kinds)]})
			}
		}
	}
	return pairs
}

// round has all pairs meet once, in a tailnet of new nodes.
func (l *laboratory) round(t *testing.T) {
	t.Parallel()
	callers, callees := l.join(t)
	var calls sync.WaitGroup
	defer calls.Wait()
	for _, p := range l.pairs() {
		l.starting <- struct{}{}
		started := sync.OnceFunc(func() { <-l.starting })
		time.AfterFunc(100*time.Millisecond, started)
		calls.Go(func() {
			defer started()
			l.call(t, p, callers[seat{p.caller, p.from}], callees[seat{p.callee, p.to}])
		})
	}
}

// How long nodes may take to find a direct path. Tailscale's repeat in vain for
// five seconds what they have tried once.
const (
	patience         = 20 * time.Second
	patienceIfInVain = 7 * time.Second
)

func (l *laboratory) call(t *testing.T, p labPair, from, to *labMember) {
	call := Call{To: to.Member, Patience: patience}
	if !p.expectDirect() {
		call.Patience = patienceIfInVain
	}
	var outcome Outcome
	if err := from.Call("Node.Call", call, &outcome); err != nil {
		t.Errorf("%s: %v", p, err)
		return
	}
	direct := outcome.Path.Direct.IsValid()
	back := Call{To: from.Member}
	if direct {
		back.Patience = patience
	}
	var path meshnet.Path
	if err := to.Call("Node.Await", back, &path); err != nil {
		t.Errorf("%s: %v", p, err)
		return
	}
	if path.Direct.IsValid() != direct {
		t.Errorf("%s: the path there is %s, and back %s", p, outcome.Path, path)
	}
	l.table.add(p, direct, outcome.Direct)
}

// seat is the place of a node in a round.
type seat struct{ software, kind string }

// labMember is a node that is up, in a process of its own.
type labMember struct {
	Member
	*rpc.Client
}

// join brings a node of each software up on every site, and waits until each of
// them knows every other.
func (l *laboratory) join(t *testing.T) (callers, callees map[seat]*labMember) {
	t.Helper()
	tailnet := l.internet.newTailnet(t)
	authKey, err := tailnet.CreateAuthKey(t.Context(), coord.AuthKeyOptions{Reusable: true})
	check(t, "an auth key is made", err)

	var members []*labMember
	var joins sync.WaitGroup
	sit := func(sites map[string]*site, role string) map[seat]*labMember {
		seats := make(map[seat]*labMember)
		for _, kind := range l.kinds {
			for _, software := range []string{"meshnet", "tsnet"} {
				name := software + "-" + kind + "-" + role
				m := &labMember{Client: startNode(t, sites[kind].host, name)}
				seats[seat{software, kind}] = m
				members = append(members, m)
				how := Join{software, name, tailnet.url(sites[kind]), authKey, t.TempDir()}
				joins.Go(func() {
					if err := m.Call("Node.Join", how, &m.Member); err != nil {
						t.Errorf("%s does not come up: %v", name, err)
					}
				})
			}
		}
		return seats
	}
	callers, callees = sit(l.callers, "1"), sit(l.callees, "2")
	joins.Wait()
	if t.Failed() {
		t.FailNow()
	}
	awaitAcquaintance(t, members)
	return callers, callees
}

func awaitAcquaintance(t *testing.T, members []*labMember) {
	t.Helper()
	var wait sync.WaitGroup
	for _, m := range members {
		var peers []key.NodePublic
		for _, other := range members {
			if other != m {
				peers = append(peers, other.Key)
			}
		}
		wait.Go(func() {
			if err := m.Call("Node.Know", peers, &struct{}{}); err != nil {
				t.Errorf("the node at %s does not know all others: %v", m.IP, err)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
