package interop

import (
	"flag"
	"fmt"
	"maps"
	"net/rpc"
	"os"
	"slices"
	"strings"
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
	beginning        chan struct{}    // holds as many calls as may begin at once
	table            labTable
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	l := &laboratory{
		internet:  newLabInternet(t),
		callers:   make(map[string]*site),
		callees:   make(map[string]*site),
		beginning: make(chan struct{}, 4),
	}
	for i, kind := range siteKinds {
		l.kinds = append(l.kinds, kind.name)
		l.callers[kind.name] = newSite(t, l.internet.namespace, kind, 2*i+1)
		l.callees[kind.name] = newSite(t, l.internet.namespace, kind, 2*i+2)
	}
	return l
}

// pairs returns all there are: first those that should go direct, because how
// long that takes is measured; and those that follow each other on different
// sites.
func (l *laboratory) pairs() []labPair {
	var direct, relayed []labPair
	for shift := range l.kinds {
		for i, from := range l.kinds {
			for _, s := range softwarePairs {
				p := labPair{s[0], s[1], from, l.kinds[(i+shift)%len(l.kinds)]}
				if p.expectDirect() {
					direct = append(direct, p)
				} else {
					relayed = append(relayed, p)
				}
			}
		}
	}
	return append(direct, relayed...)
}

// round has all pairs meet once, in a tailnet of new nodes.
func (l *laboratory) round(t *testing.T) {
	t.Parallel()
	callers, callees := l.join(t)
	var calls sync.WaitGroup
	defer calls.Wait()
	for _, p := range l.pairs() {
		l.beginning <- struct{}{}
		begun := sync.OnceFunc(func() { <-l.beginning })
		time.AfterFunc(100*time.Millisecond, begun)
		calls.Go(func() {
			defer begun()
			from, to := p.seats()
			l.call(t, p, callers[from], callees[to])
		})
	}
}

// How long nodes may take to find a direct path. Tailscale's try again after five
// seconds what was in vain, and nothing else; meshnet's then probe ports.
const (
	patience         = 20 * time.Second
	patienceIfInVain = 7 * time.Second
)

func (p labPair) patience() time.Duration {
	if p.expectDirect() || p.probesPorts() {
		return patience
	}
	return patienceIfInVain
}

// call has one node call another, and looks whether the paths there and back
// are direct.
func (l *laboratory) call(t *testing.T, p labPair, from, to *labMember) {
	var there Outcome
	if err := from.Call("Node.Call", Call{to.Member, p.patience()}, &there); err != nil {
		t.Errorf("%s: %v", p, err)
		return
	}
	direct := there.Path.Direct.IsValid()
	toCaller := Call{To: from.Member}
	if direct {
		toCaller.Patience = patience
	}
	var back meshnet.Path
	if err := to.Call("Node.Await", toCaller, &back); err != nil {
		t.Errorf("%s: %v", p, err)
		return
	}
	if back.Direct.IsValid() != direct && !p.probesPorts() { // those may have met in the last moment
		t.Errorf("%s: the path there is %s, and back %s", p, there.Path, back)
	}
	l.table.add(p, direct, there.Direct)
}

// labMember is a node that is up, in a process of its own.
type labMember struct {
	Member
	*rpc.Client
}

// join brings all nodes up that are to meet, and waits until each of them knows
// every other.
func (l *laboratory) join(t *testing.T) (callers, callees map[seat]*labMember) {
	t.Helper()
	tailnet := l.internet.newTailnet(t)
	authKey, err := tailnet.CreateAuthKey(t.Context(), coord.AuthKeyOptions{Reusable: true})
	check(t, "an auth key is made", err)

	var joins sync.WaitGroup
	sit := func(seats map[seat]*labMember, s seat, at *site, role string) {
		if seats[s] != nil {
			return
		}
		name := strings.TrimRight(s.software+"-"+s.kind+"-"+role+"-"+s.only, "-")
		m := &labMember{Client: startNode(t, at.host, name)}
		seats[s] = m
		how := Join{s.software, name, tailnet.url(at), authKey, t.TempDir()}
		joins.Go(func() {
			if err := m.Call("Node.Join", how, &m.Member); err != nil {
				t.Errorf("%s does not come up: %v", name, err)
			}
		})
	}
	callers, callees = make(map[seat]*labMember), make(map[seat]*labMember)
	for _, p := range l.pairs() {
		from, to := p.seats()
		sit(callers, from, l.callers[p.from], "1")
		sit(callees, to, l.callees[p.to], "2")
	}
	joins.Wait()
	if t.Failed() {
		t.FailNow()
	}
	awaitAcquaintance(t, slices.Collect(maps.Values(callers)), slices.Collect(maps.Values(callees)))
	return callers, callees
}

// awaitAcquaintance waits until all nodes know all that they may meet.
func awaitAcquaintance(t *testing.T, callers, callees []*labMember) {
	t.Helper()
	var wait sync.WaitGroup
	know := func(members, others []*labMember) {
		var peers []key.NodePublic
		for _, other := range others {
			peers = append(peers, other.Key)
		}
		for _, m := range members {
			wait.Go(func() {
				if err := m.Call("Node.Know", peers, &struct{}{}); err != nil {
					t.Errorf("the node at %s does not know all others: %v", m.IP, err)
				}
			})
		}
	}
	know(callers, callees)
	know(callees, callers)
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
