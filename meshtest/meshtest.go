// Package meshtest is to a mesh what net/http/httptest is to HTTP: a whole
// tailnet in one process, for the tests of programs that use meshnet.
//
//	mesh := meshtest.New(t)
//	a := mesh.Node("a")
//	b := mesh.Node("b", meshtest.NAT(meshtest.HardNAT))
//	ln, err := b.Listen("tcp", ":80")
//	conn, err := a.Dial(ctx, "tcp", "b:80")
//
// [New] starts a coordinator (package coord) and a relay with STUN (package
// derp), and [Mesh.Node] returns real nodes that have joined: what the program
// under test runs on is what it will run on, but for the wires. Those are in
// memory: an internet with NATs, firewalls, latency, loss and cuts, on which no
// socket is opened and no packet leaves the process. Two nodes are up within
// some tens of milliseconds. Any number of meshes live side by side, in
// parallel tests too, and when the test ends its mesh is taken down.
//
//	the internet in memory
//	──┬───────────┬──────────┬───────────────┬──────────────────┬──
//	  │           │          │               │                  │
//	coordinator  relay,     node        ┌────┴─────┐       ┌────┴─────┐
//	             STUN       on the      │ EasyNAT  │       │ Firewall │
//	                        OpenInternet└────┬─────┘       └────┬─────┘
//	                                      ───┴───┬─── Network  ─┴─ Network
//	                                      node  node             node
//
// # Where nodes are
//
// A node is on the open internet unless an option puts it elsewhere: [NAT] into
// a network of its own, behind what a [Kind] says; [In] into a [Network] that it
// shares with others; [Near] into another region of the world. [Over] gives its
// link latency, loss or an MTU. Networks differ in which pairs of nodes find a
// direct path to each other and which stay on a relay: [Mesh.WaitDirect] and
// [Mesh.Path] show it.
//
// # What can happen to them
//
// [Mesh.Cut], [Mesh.Heal], [Mesh.SetLink] and [Mesh.Move] change the network
// under a node while it runs; [Mesh.StopRelay] and [Mesh.StopCoordinator] take
// down what it relies on; [Mesh.SetPolicy] changes who may reach what. Whatever
// else an administrator does is done with [Mesh.Coordinator].
//
// # Time and failures
//
// Nodes run on the real clock: they cannot live in a testing/synctest bubble.
// Methods of a Mesh that cannot do what they say end the test with Fatal, so
// they are for the test's own goroutine, like those of testing.TB. The others
// say so.
package meshtest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/internal/simnet"
)

const (
	// patience bounds what a test waits for. Nothing takes nearly that long
	// but on machines where everything does.
	patience = 30 * time.Second
	// lookEvery is how often is looked at what nobody tells.
	lookEvery = 2 * time.Millisecond
)

// A Mesh is a tailnet in memory: a coordinator, a relay in each region, and
// nodes. It ends with its test.
type Mesh struct {
	t        testing.TB
	ctx      context.Context // ends with the mesh
	cancel   context.CancelFunc
	log      *slog.Logger
	internet *simnet.Network

	regions     []*region
	spare       *simnet.Host // of another STUN server
	spareSTUN   *stunServer
	coordinator *coordinator

	mu       sync.Mutex
	nodes    map[*meshnet.Server]*machine
	networks int // with public addresses, so far
}

// An Option is a wish about a mesh, for [New].
type Option func(*config)

type config struct {
	coord    coord.Config
	regions  []string
	distance time.Duration
	logs     bool
	level    slog.Level
}

// Regions makes the world larger: with a relay in each region, and distance
// from any region to any other, one way. Codes are short names such as "fra";
// nodes are in the first region unless they are [Near] another. The home relay
// of a node is the nearest. Without this option there is one region, "here".
//
// The coordinator is in the middle, half a distance from everybody.
func Regions(distance time.Duration, codes ...string) Option {
	return func(c *config) { c.regions, c.distance = codes, distance }
}

// Policy says who may reach whom; without it everybody reaches everybody. It is
// the text of a policy file, as coord.Server.SetPolicy has it.
// [Mesh.SetPolicy] changes it later.
func Policy(policy string) Option {
	return func(c *config) { c.coord.Policy = []byte(policy) }
}

// Coordinator lets configure change the coordinator's configuration: the domain
// of the mesh, extra names, the expiry of keys. What is in it already is
// meshtest's.
func Coordinator(configure func(*coord.Config)) Option {
	return func(c *config) { configure(&c.coord) }
}

// Log writes what nodes, coordinator and relays log, from level up, to the log
// of the test. Without it they are silent.
func Log(level slog.Level) Option {
	return func(c *config) { c.logs, c.level = true, level }
}

// New starts a mesh without nodes. It is taken down, with its nodes, when the
// test has ended: after what the test itself gives to Cleanup from then on.
func New(t testing.TB, options ...Option) *Mesh {
	t.Helper()
	c := config{regions: []string{"here"}, coord: coord.Config{Store: coord.NewMemoryStore()}}
	for _, option := range options {
		option(&c)
	}
	m := &Mesh{
		t:        t,
		log:      slog.New(slog.DiscardHandler),
		internet: simnet.New(1),
		nodes:    make(map[*meshnet.Server]*machine),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	t.Cleanup(m.close)
	if c.logs {
		out := &output{t: t}
		t.Cleanup(out.close) // after this the test may have no log
		m.log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: c.level}))
	}
	m.makeRegions(c.regions, c.distance)
	m.makeCoordinator(c.coord)
	return m
}

// close takes the mesh down, from the nodes to the wires.
func (m *Mesh) close() {
	var closing sync.WaitGroup
	for server := range m.machines() {
		closing.Go(func() { server.Close() })
	}
	closing.Wait()
	m.cancel()
	if m.coordinator != nil { // it is, when New has failed
		m.StopCoordinator()
	}
	m.StopRelays()
	m.spareSTUN.stop()
	m.internet.Close()
}
