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
	authKey, err := m.Coordinator().CreateAuthKey(m.ctx, options)
	if err != nil {
		m.t.Fatalf("meshtest: making an auth key: %v", err)
	}
	return authKey
}

// wantUser has the coordinator make a user, if there is none with that login.
func (m *Mesh) wantUser(login string) {
	m.t.Helper()
	server := m.Coordinator()
	users, err := server.Users(m.ctx)
	if err == nil && !slices.ContainsFunc(users, func(u coord.User) bool { return u.Login == login }) {
		_, err = server.CreateUser(m.ctx, coord.UserOptions{Login: login})
	}
	if err != nil {
		m.t.Fatalf("meshtest: making the user %q: %v", login, err)
	}
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

// SetPolicy says who may reach whom from now on: policy is the text of a policy
// file, as coord.Server.SetPolicy has it, and empty for what [New] was told.
// Nodes that are up hear of it a moment later.
func (m *Mesh) SetPolicy(policy string) {
	m.t.Helper()
	if err := m.Coordinator().SetPolicy(m.ctx, []byte(policy)); err != nil {
		m.t.Fatalf("meshtest: setting the policy: %v", err)
	}
}
