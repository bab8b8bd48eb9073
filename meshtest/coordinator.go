package meshtest

import (
	"slices"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/internal/simnet"
)

// controlName is the name of the coordinator's host on the internet.
const controlName = "control.test"

// A coordinator is the machine on which one runs, or not.
type coordinator struct {
	host    *simnet.Host
	config  coord.Config // with a store that outlives the server
	authKey string       // for nodes without tags

	// Guarded by Mesh.mu.
	server  *coord.Server // the last one, when it is stopped
	service *service      // nil: stopped
}

// makeCoordinator puts the coordinator on the internet and starts it.
func (m *Mesh) makeCoordinator(config coord.Config) {
	m.t.Helper()
	config.DERPMap = m.derpMap()
	if config.Logger == nil {
		config.Logger = m.log.With("at", "coordinator")
	}
	m.coordinator = &coordinator{host: m.internet.Host(), config: config}
	m.internet.Name(controlName, m.coordinator.host.Addrs()...)
	m.StartCoordinator()
	m.coordinator.authKey = m.newAuthKey(coord.AuthKeyOptions{Reusable: true})
}

// newAuthKey has the coordinator make a key.
func (m *Mesh) newAuthKey(options coord.AuthKeyOptions) string {
	m.t.Helper()
	authKey, err := m.Coordinator().CreateAuthKey(options)
	if err != nil {
		m.t.Fatalf("meshtest: making an auth key: %v", err)
	}
	return authKey
}

// Coordinator returns the coordinator, for what an administrator does: nodes
// are listed, approved, expired and removed, auth keys made. It is another one
// after each start; one that is stopped is closed.
func (m *Mesh) Coordinator() *coord.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.coordinator.server
}

// StopCoordinator takes the coordinator down, or does nothing when it is. Nodes
// go on with what they know and try to reach it: after half a second, and less
// and less often.
func (m *Mesh) StopCoordinator() {
	m.mu.Lock()
	running := m.coordinator.service
	m.coordinator.service = nil
	m.mu.Unlock()
	running.stop()
}

// StartCoordinator starts the coordinator again after StopCoordinator. It knows
// what it knew before, its own key, the nodes and the auth keys. While it runs,
// StartCoordinator does nothing.
func (m *Mesh) StartCoordinator() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.coordinator
	if c.service != nil {
		return
	}
	server, err := coord.New(c.config)
	if err != nil {
		m.t.Fatalf("meshtest: making the coordinator: %v", err)
	}
	ln, err := c.host.Listen(m.ctx, "tcp", ":80")
	if err != nil {
		m.t.Fatalf("meshtest: starting the coordinator: %v", err)
	}
	c.server, c.service = server, serve(ln, server)
}

// SetFilter says anew who may reach what, as [Filter] does for [New], by
// restarting the coordinator: nodes have the new rules within a second or so.
// Connections that are open stay open. A coordinator that is stopped will have
// the new rules when it starts.
func (m *Mesh) SetFilter(rules ...coord.Rule) {
	m.t.Helper()
	m.mu.Lock()
	running := m.coordinator.service != nil
	m.coordinator.config.Filter = slices.Concat([]coord.Rule{}, rules)
	m.mu.Unlock()
	if running {
		m.StopCoordinator()
		m.StartCoordinator()
	}
}
