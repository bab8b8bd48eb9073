package meshnet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// again returns the same node in its next run.
func (m *mesh) again(s *Server) *Server {
	s.Close()
	next := m.server(s.Hostname)
	next.Store, next.AuthKey = s.Store, ""
	return next
}

// mute has the coordinator's place taken by one that accepts connections, and
// says nothing.
func (m *mesh) mute() (stop func()) {
	m.control.stop()
	ln := m.listen(&m.controlAddr)
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			conn.Close()
		}
	}()
	return func() { ln.Close(); <-done }
}

// asks sends a few bytes to port 7 of a peer, which answers with the same.
func asks(t *testing.T, s *Server, peer string) {
	t.Helper()
	conn, err := s.Dial(testCtx(t), "tcp", peer+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("there?")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
}

func live(s *Server) bool { return s.running().view.load().live() }

// TestRestartWhileTheCoordinatorIsDown starts both nodes anew after their
// coordinator has gone. They are up, talk, and say what is wrong; when it is back
// they go by its word again.
func TestRestartWhileTheCoordinatorIsDown(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	m.control.stop()
	a, b = m.again(a), m.again(b)
	echo(t, b, "tcp")
	for _, s := range []*Server{a, b} {
		status, err := s.Up(testCtx(t))
		if err != nil {
			t.Fatalf("%s does not come up: %v", s.Hostname, err)
		}
		if status.State != StateRunning || len(status.Peers) != 1 || status.Peers[0].Online {
			t.Errorf("%s is %+v", s.Hostname, status)
		}
		if !strings.Contains(strings.Join(status.Health, " "), "has not been heard since") {
			t.Errorf("%s does not say that the coordinator is away: %q", s.Hostname, status.Health)
		}
	}
	asks(t, a, "b")

	m.startCoord()
	for _, s := range []*Server{a, b} {
		eventually(t, s.Hostname+" hears the coordinator", func() bool { return live(s) && len(s.Status().Health) == 0 })
	}
	asks(t, a, "b")
}

// TestFirstByteBeforeTheCoordinatorAnswers has a coordinator that takes its
// time: Dial does not wait for it.
func TestFirstByteBeforeTheCoordinatorAnswers(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	stop := m.mute()
	a = m.again(a)
	asks(t, a, "b")
	if live(a) {
		t.Error("a coordinator that says nothing was heard")
	}
	stop()
	m.startCoord()
	eventually(t, "a hears the coordinator", func() bool { return live(a) })
}

// TestPeerRemovedMeanwhile is about a peer that the coordinator has forgotten
// while a node was down: the first word of the coordinator ends it.
func TestPeerRemovedMeanwhile(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	eventually(t, "a knows b", func() bool { return len(a.Status().Peers) == 1 })
	a.Close()
	b.Close()
	for _, n := range m.coord.Nodes() {
		if strings.HasPrefix(n.Name, "b.") {
			if err := m.coord.RemoveNode(t.Context(), n.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := m.mute()
	a = m.again(a)
	if _, err := a.WhoIs(testCtx(t), "100.64.0.2"); err != nil {
		t.Errorf("the last map is not gone by: %v", err)
	}
	stop()
	m.startCoord()
	eventually(t, "a hears the coordinator", func() bool { return live(a) })
	if _, err := a.Dial(testCtx(t), "tcp", "b:7"); err == nil {
		t.Error("a peer that is no longer one is dialled")
	}
	if peers := a.running().wg.Peers(); peers != 0 {
		t.Errorf("WireGuard still knows %d peers", peers)
	}
}

// TestPolicyOfTheLastMap restarts a node that lets nobody in, without its
// coordinator: still nobody gets in.
func TestPolicyOfTheLastMap(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) { m.PacketFilter[0].SrcIPs = []string{"100.64.0.99"} }
	b := s.up("b")
	s.first = nil
	a := s.up("a")
	s.tell(b, a, nil)
	b.Close()
	s.away(t)
	b2 := s.server("b")
	b2.Store = b.Store
	echo(t, b2, "tcp")
	if _, err := b2.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if f := b2.running().tun.Filter(); f == nil || !b2.running().view.load().netMap.FilterKnown {
		t.Error("the filter of the last map is not in force")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := a.Dial(ctx, "tcp", "100.64.0.1:7"); err == nil {
		t.Error("somebody got in whom the filter of the last map does not let in")
	}
}

// A saved map is only as good as what it is of.
func TestWhichMapIsGood(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	control := key.NewMachine().Public()
	id := identity{node: key.NewNode()}
	saved := func(edit func(*savedMap)) *savedMap {
		s := &savedMap{
			Version: savedMapVersion, ControlURL: "https://mesh.example.com", ControlKey: control,
			NodeKey: id.node.Public(), Heard: now.Add(-time.Hour),
			Map: &tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1, Key: id.node.Public(), MachineAuthorized: true}},
		}
		edit(s)
		return s
	}
	pinned := func(c *config) { c.controlKey = control }
	other := func(c *config) { c.controlKey = key.NewMachine().Public() }
	for _, tt := range []struct {
		what   string
		edit   func(*savedMap)
		config func(*config)
		good   bool
	}{
		{"an hour old", func(*savedMap) {}, nil, true},
		{"of the pinned coordinator", func(*savedMap) {}, pinned, true},
		{"of another key than the pinned one", func(*savedMap) {}, other, false},
		{"of another coordinator", func(s *savedMap) { s.ControlURL = "https://other.example.com" }, nil, false},
		{"for an earlier key of ours", func(s *savedMap) { s.NodeKey = key.NewNode().Public() }, nil, false},
		{"about another node", func(s *savedMap) { s.Map.Node.Key = key.NewNode().Public() }, nil, false},
		{"about nobody", func(s *savedMap) { s.Map.Node = nil }, nil, false},
		{"a keepalive", func(s *savedMap) { s.Map.KeepAlive = true }, nil, false},
		{"as old as may be", func(s *savedMap) { s.Heard = now.Add(time.Second - maxMapAge) }, nil, true},
		{"too old", func(s *savedMap) { s.Heard = now.Add(-maxMapAge) }, nil, false},
		{"of the future", func(s *savedMap) { s.Heard = now.Add(time.Hour) }, nil, false},
		{"our key has expired", func(s *savedMap) { s.Map.Node.KeyExpiry = now.Add(-time.Minute) }, nil, false},
		{"our key has expired by the coordinator's clock", func(s *savedMap) {
			theirs := s.Heard.Add(24 * time.Hour)
			s.Map.ControlTime, s.Map.Node.KeyExpiry = &theirs, now.Add(time.Hour)
		}, nil, false},
		{"the node was not approved", func(s *savedMap) { s.Map.Node.MachineAuthorized = false }, nil, false},
		{"a tailnet lock", func(s *savedMap) { s.Map.TKAInfo = &tailcfg.TKAInfo{} }, nil, false},
		{"a tailnet lock that is accepted", func(s *savedMap) { s.Map.TKAInfo = &tailcfg.TKAInfo{} }, func(c *config) { c.allowUnsigned = true }, true},
	} {
		cfg := config{}
		cfg.controlURL, _ = parseControlURL("https://mesh.example.com")
		if tt.config != nil {
			tt.config(&cfg)
		}
		text, err := saved(tt.edit).text()
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseSavedMap(text)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if m, err := s.good(&cfg, id, now); (err == nil) != tt.good || (m != nil) != tt.good {
			t.Errorf("a map %s: %v", tt.what, err)
		}
	}
}

// TestDamagedMapIsOnlyLost starts a node whose stored map makes no sense: it is
// not needed.
func TestDamagedMapIsOnlyLost(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	s.Close()
	for _, text := range []string{"{", `{"Version":1}`, `{"Version":2,"Map":{}}`, "null"} {
		if err := s.Store.Save(storedMap, []byte(text)); err != nil {
			t.Fatal(err)
		}
		next := m.again(s)
		if _, err := next.Up(testCtx(t)); err != nil {
			t.Errorf("with the map %q: %v", text, err)
		}
		next.Close()
	}
	if text, err := s.Store.Load(storedMap); err != nil || !json.Valid(text) || len(text) < 100 {
		t.Errorf("the damaged map is not replaced: %q, %v", text, err)
	}
}

// TestNobodyIsKeptWhoIsRefused has the coordinator forget a node: its next start
// does not go by what it knew.
func TestNobodyIsKeptWhoIsRefused(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	s.Close()
	if err := m.coord.RemoveNode(t.Context(), m.coord.Nodes()[0].ID); err != nil {
		t.Fatal(err)
	}
	next := m.again(s)
	next.AuthKey = "mkauth-nobody-made"
	var refused *RefusedError
	if _, err := next.Up(testCtx(t)); !errors.As(err, &refused) {
		t.Errorf("Up: %v", err)
	}
	if _, err := next.Dial(testCtx(t), "tcp", "node:7"); !errors.As(err, &refused) {
		t.Errorf("Dial: %v", err)
	}
	next.Close()
	if text, _ := s.Store.Load(storedMap); len(text) > 0 {
		t.Error("the map of a node that was refused is kept")
	}
}

// TestLastMapHasItsTime lets a map become too old while it is in force.
func TestLastMapHasItsTime(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	s.Close()
	m.control.stop()
	defer m.startCoord() // for the end of the test
	text, err := s.Store.Load(storedMap)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := parseSavedMap(text)
	if err != nil {
		t.Fatal(err)
	}
	saved.Heard = time.Now().Add(2*time.Second - maxMapAge)
	if text, err = saved.text(); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Save(storedMap, text); err != nil {
		t.Fatal(err)
	}
	next := m.again(s)
	if status, err := next.Up(testCtx(t)); err != nil || status.State != StateRunning {
		t.Fatalf("Up: %+v, %v", status, err)
	}
	eventually(t, "the map is dropped", func() bool { return next.Status().State == StateStarting })
	if f := next.running().tun.Filter(); f != nil {
		t.Error("its filter is still in force")
	}
}

func FuzzSavedMap(f *testing.F) {
	id := identity{node: key.NewNode()}
	cfg := config{}
	cfg.controlURL, _ = parseControlURL("https://mesh.example.com")
	good := &savedMap{
		Version: savedMapVersion, ControlURL: cfg.controlURL.String(), NodeKey: id.node.Public(), Heard: time.Unix(1e9, 0),
		Map: &tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1, Key: id.node.Public(), MachineAuthorized: true}},
	}
	text, err := good.text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Version":1,"Map":{"Peers":[null]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSavedMap(text)
		if err != nil {
			return
		}
		var m *netmap.Map
		if m, err = s.good(&cfg, id, time.Unix(1e9, 0)); err == nil && m.Self.Key != id.node.Public() {
			t.Errorf("a map of another node is good: %+v", m.Self)
		}
	})
}
