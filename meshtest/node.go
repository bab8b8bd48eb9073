package meshtest

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/internal/simnet"
	"github.com/meshnet-go/meshnet/key"
)

// acquaintance bounds how long Node waits for nodes to know each other. What
// takes longer has been prevented by the test.
const acquaintance = 5 * time.Second

// A machine is the host of a node.
type machine struct {
	host *simnet.Host
	cut  atomic.Bool
}

// A NodeOption is a wish about a node, for [Mesh.Node].
type NodeOption func(*nodeConfig)

type nodeConfig struct {
	kind       Kind
	network    *Network // nil: one of its own, of the kind
	region     string   // of that; empty: the first
	link       Link
	user       string
	tags       []string
	configure  []func(*meshnet.Server)
	notStarted bool
}

// NAT puts the node into a network of its own, of a kind.
func NAT(kind Kind) NodeOption { return func(c *nodeConfig) { c.kind = kind } }

// Near puts the node's own network into the region of a code, one of those in
// [Regions].
func Near(code string) NodeOption { return func(c *nodeConfig) { c.region = code } }

// In puts the node into a network, beside others. [NAT] and [Near] then mean
// nothing.
func In(network *Network) NodeOption { return func(c *nodeConfig) { c.network = network } }

// Over says what the node's link is like.
func Over(link Link) NodeOption { return func(c *nodeConfig) { c.link = link } }

// User makes the node one of the user with a login such as "alice", who comes
// into being with it. Without it the user is "user".
func User(login string) NodeOption { return func(c *nodeConfig) { c.user = login } }

// Tags gives the node tags, such as "tag:web". It acts for no user then.
func Tags(tags ...string) NodeOption { return func(c *nodeConfig) { c.tags = tags } }

// Configure changes the fields of the Server, before it starts. Those that are
// set already make it a node of the mesh, but its Store may be replaced: with
// the Store of one that was closed, the node is that one again.
func Configure(change func(*meshnet.Server)) NodeOption {
	return func(c *nodeConfig) { c.configure = append(c.configure, change) }
}

// NotStarted leaves it to the test to start the node, by its Up method or any
// other that does.
func NotStarted() NodeOption { return func(c *nodeConfig) { c.notStarted = true } }

// Node returns a node of the mesh that is up, and that knows the nodes that
// were up before it and is known to them: they can dial each other at once. Its
// name in the mesh is the given one, or that and a number if there is such a
// node. It is closed when the test ends.
func (m *Mesh) Node(name string, options ...NodeOption) *meshnet.Server {
	m.t.Helper()
	var c nodeConfig
	for _, option := range options {
		option(&c)
	}
	node := m.newNode(name, &c)
	for _, change := range c.configure {
		change(node)
	}
	if c.notStarted {
		return node
	}
	ctx, cancel := context.WithTimeout(m.ctx, patience)
	defer cancel()
	if _, err := node.Up(ctx); err != nil {
		m.t.Fatalf("meshtest: node %q does not come up: %v", name, err)
	}
	m.acquaint(node)
	return node
}

// newNode makes a node and its machine.
func (m *Mesh) newNode(name string, c *nodeConfig) *meshnet.Server {
	m.t.Helper()
	host := m.hostFor(c)
	host.Link().Set(c.link.quality())
	node := &meshnet.Server{
		Hostname:   name,
		ControlURL: "http://" + controlName,
		ControlKey: m.Coordinator().PublicKey().String(),
		AuthKey:    m.authKeyFor(c),
		Store:      meshnet.NewMemoryStore(),
		Logger:     m.log.With("at", name),
		Underlay: meshnet.Underlay{
			ListenPacket: host.ListenPacket,
			DialContext:  host.DialContext,
			Interfaces:   host.Interfaces,
			Gateway:      host.Gateway,
		},
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[node] = &machine{host: host}
	return node
}

// authKeyFor returns the key with which the coordinator gives a node its user
// and tags. One that wants none can come while the coordinator is down.
func (m *Mesh) authKeyFor(c *nodeConfig) string {
	m.t.Helper()
	if c.user == "" && len(c.tags) == 0 {
		return m.coordinator.authKey
	}
	if c.user != "" {
		m.wantUser(c.user)
	}
	return m.newAuthKey(coord.AuthKeyOptions{Reusable: true, User: c.user, Tags: c.tags})
}

// hostFor puts a host where a node wants to be.
func (m *Mesh) hostFor(c *nodeConfig) *simnet.Host {
	m.t.Helper()
	network := c.network
	switch {
	case network != nil:
	case c.region != "":
		network = m.NetworkNear(c.region, c.kind)
	default:
		network = m.Network(c.kind)
	}
	return network.router.Host()
}

// machine returns that of a node.
func (m *Mesh) machine(node *meshnet.Server) *machine {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	on := m.nodes[node]
	if on == nil {
		m.t.Fatalf("meshtest: the node %q is not of this mesh", node.Hostname)
	}
	return on
}

// machines returns all nodes there are now.
func (m *Mesh) machines() map[*meshnet.Server]*machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.nodes)
}

// acquaint waits until a new node and those whom it sees know how to reach each
// other. It does not insist: who is cut off learns nothing.
func (m *Mesh) acquaint(node *meshnet.Server) {
	ctx, cancel := context.WithTimeout(m.ctx, acquaintance)
	defer cancel()
	for other, on := range m.machines() {
		if other == node || on.cut.Load() {
			continue
		}
		m.wait(ctx, func() bool {
			_, sees := peer(node, other)
			strangers := !sees || other.Status().State != meshnet.StateRunning
			return strangers || m.reaches(node, other) && m.reaches(other, node)
		})
	}
}

// reaches reports whether a node sends to another through the home region of
// that, or directly. A relay that it chose without knowing would not do.
func (m *Mesh) reaches(node, other *meshnet.Server) bool {
	p, sees := peer(node, other)
	return sees && (p.Path.Direct.IsValid() || p.Path.Relay != "" && p.Path.Relay == m.home(p.Key))
}

// home returns the code of the home region that a node has reported, or "".
func (m *Mesh) home(node key.NodePublic) string {
	for _, n := range m.Coordinator().Nodes() {
		if n.Key == node && n.HomeDERP >= 1 && n.HomeDERP <= len(m.regions) {
			return m.regions[n.HomeDERP-1].code
		}
	}
	return ""
}

// peer returns what a node knows of another, if it sees that.
func peer(node, other *meshnet.Server) (status meshnet.PeerStatus, sees bool) {
	key := other.Status().Self.Key
	peers := node.Status().Peers
	i := slices.IndexFunc(peers, func(p meshnet.PeerStatus) bool { return p.Key == key })
	if i < 0 {
		return status, false
	}
	return peers[i], true
}

// wait waits until done, or until ctx ends; then it reports false.
func (m *Mesh) wait(ctx context.Context, done func() bool) bool {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
