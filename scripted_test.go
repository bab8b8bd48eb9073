package meshnet

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// A scripted coordinator sends what coord never would. Whoever registers is a
// member, with the addresses 100.64.0.n and fd7a:115c:a1e0::n in the order of
// registering; a member learns of those before it. The rest is up to the test.
type scripted struct {
	*mesh // for its relay and its log
	key   key.MachinePrivate
	url   string
	noise upgraded

	outside *httptest.Server

	// Set before the first node starts. They may be nil.
	register func(*tailcfg.RegisterRequest) *tailcfg.RegisterResponse // nil answer: let in
	first    func(*tailcfg.MapResponse)                               // changes the first response of each stream

	answers chan tailcfg.PingResponse // to pings that ask for POST /answer

	mu      sync.Mutex
	members []*member

	serial atomic.Int64
}

type member struct {
	node   tailcfg.Node
	frames chan *tailcfg.MapResponse // to its stream
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{
		mesh:  newMesh(t, nil),
		key:   key.NewMachine(),
		noise: upgraded{make(chan net.Conn), make(chan struct{})},

		answers: make(chan tailcfg.PingResponse, 100),
	}
	inside := http.NewServeMux()
	inside.HandleFunc("POST /machine/register", s.serveRegister)
	inside.HandleFunc("POST /machine/map", s.serveMap)
	inside.HandleFunc("POST /answer", s.serveAnswer)
	h2 := &http.Server{Handler: inside, Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	go h2.Serve(s.noise)
	t.Cleanup(func() { h2.Close() })
	outside := http.NewServeMux()
	outside.HandleFunc("GET /key", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"publicKey": s.key.Public().String()})
	})
	outside.HandleFunc("POST /ts2021", s.upgrade)
	srv := httptest.NewServer(outside)
	t.Cleanup(srv.Close)
	s.url, s.outside = srv.URL, srv
	return s
}

// away ends the coordinator.
func (s *scripted) away(t *testing.T) {
	t.Helper()
	s.outside.CloseClientConnections()
	s.outside.Close()
}

func (s *scripted) server(name string) *Server {
	srv := s.mesh.server(name)
	srv.ControlURL = s.url
	return srv
}

func (s *scripted) up(name string) *Server {
	s.t.Helper()
	srv := s.server(name)
	if _, err := srv.Up(testCtx(s.t)); err != nil {
		s.t.Fatalf("%s does not come up: %v", name, err)
	}
	return srv
}

func (s *scripted) upgrade(w http.ResponseWriter, r *http.Request) {
	initiation, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Tailscale-Handshake"))
	if err != nil {
		s.t.Error(err)
	}
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.t.Error(err)
		return
	}
	io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n")
	conn, err := noise.Accept(nc, s.key, initiation)
	if err != nil {
		nc.Close()
		return
	}
	select {
	case s.noise.conns <- conn:
	case <-s.noise.done:
		conn.Close()
	}
}

// upgraded is the listener on which Noise connections come in.
type upgraded struct {
	conns chan net.Conn
	done  chan struct{}
}

func (u upgraded) Accept() (net.Conn, error) {
	select {
	case conn := <-u.conns:
		return conn, nil
	case <-u.done:
		return nil, net.ErrClosed
	}
}

func (u upgraded) Close() error   { close(u.done); return nil }
func (u upgraded) Addr() net.Addr { return &net.TCPAddr{} }

func (s *scripted) serveRegister(w http.ResponseWriter, r *http.Request) {
	var req tailcfg.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return // the node gave up
	}
	var resp *tailcfg.RegisterResponse
	if s.register != nil {
		resp = s.register(&req)
	}
	if resp == nil {
		s.admit(&req)
		resp = &tailcfg.RegisterResponse{MachineAuthorized: true}
	}
	json.NewEncoder(w).Encode(resp)
}

// admit makes a node key a member, in the place of the one that it replaces.
func (s *scripted) admit(req *tailcfg.RegisterRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.node.Key == req.NodeKey || m.node.Key == req.OldNodeKey {
			m.node.Key = req.NodeKey
			return
		}
	}
	id := len(s.members) + 1
	addrs := []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("100.64.0.%d/32", id)),
		netip.MustParsePrefix(fmt.Sprintf("fd7a:115c:a1e0::%d/128", id)),
	}
	s.members = append(s.members, &member{
		node: tailcfg.Node{
			ID: tailcfg.NodeID(id), StableID: fmt.Sprint("n", id), Name: req.Hostinfo.Hostname + ".mesh.internal.",
			Key: req.NodeKey, HomeDERP: 900, MachineAuthorized: true,
			Addresses: addrs, AllowedIPs: addrs,
		},
		frames: make(chan *tailcfg.MapResponse),
	})
}

func (s *scripted) serveMap(w http.ResponseWriter, r *http.Request) {
	var req tailcfg.MapRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return
	}
	m, first := s.report(&req)
	switch {
	case m == nil:
		http.Error(w, "unknown node", http.StatusNotFound)
		return
	case !req.Stream:
		return
	case s.first != nil:
		s.first(first)
	}
	send(w, first)
	for {
		select {
		case frame := <-m.frames:
			send(w, frame)
		case <-r.Context().Done():
			return
		}
	}
}

func (s *scripted) serveAnswer(_ http.ResponseWriter, r *http.Request) {
	var resp tailcfg.PingResponse
	if err := json.NewDecoder(r.Body).Decode(&resp); err != nil {
		s.t.Error(err)
		return
	}
	s.answers <- resp
}

// report notes what a member tells of itself, and returns it with the map to
// begin with.
func (s *scripted) report(req *tailcfg.MapRequest) (*member, *tailcfg.MapResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.members, func(m *member) bool { return m.node.Key == req.NodeKey })
	if i < 0 {
		return nil, nil
	}
	m := s.members[i]
	m.node.DiscoKey = req.DiscoKey
	self := m.node
	first := &tailcfg.MapResponse{Node: &self, Domain: "mesh.internal", DERPMap: s.cfg.DERPMap, PacketFilter: allowAll()}
	for _, earlier := range s.members[:i] {
		peer := earlier.node
		first.Peers = append(first.Peers, &peer)
	}
	return m, first
}

func allowAll() []tailcfg.FilterRule {
	return []tailcfg.FilterRule{{
		SrcIPs:   []string{"*"},
		DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{First: 0, Last: 65535}}},
	}}
}

// send writes one frame of a map stream.
func send(w http.ResponseWriter, m *tailcfg.MapResponse) {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
	w.(http.Flusher).Flush()
}

// member returns the member that srv is.
func (s *scripted) member(srv *Server) *member {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	id := identityOf(s.t, srv)
	for _, m := range s.members {
		if m.node.Key == id.node.Public() {
			return m
		}
	}
	s.t.Fatalf("%s has not registered", srv.Hostname)
	return nil
}

// node returns what peers may be told of srv.
func (s *scripted) node(srv *Server) *tailcfg.Node {
	s.t.Helper()
	m := s.member(srv)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := m.node
	return &n
}

// push sends srv one more response, and returns when its map is as wanted.
func (s *scripted) push(srv *Server, resp *tailcfg.MapResponse, want func(*netmap.Map) bool) {
	s.t.Helper()
	s.frame(srv, resp)
	if _, err := srv.running().view.wait(testCtx(s.t), func(v view) (bool, error) { return want(v.netMap), nil }); err != nil {
		s.t.Fatalf("%s does not take its map: %v", srv.Hostname, err)
	}
}

// frame sends srv one more response.
func (s *scripted) frame(srv *Server, resp *tailcfg.MapResponse) {
	s.t.Helper()
	select {
	case s.member(srv).frames <- resp:
	case <-testCtx(s.t).Done():
		s.t.Fatalf("%s has no stream", srv.Hostname)
	}
}

// tell makes peer, changed by edit, known to srv.
func (s *scripted) tell(srv, peer *Server, edit func(*tailcfg.Node)) {
	s.t.Helper()
	n := s.node(peer)
	if edit != nil {
		edit(n)
	}
	serial := fmt.Sprint("told ", s.serial.Add(1)) // so that this very map is waited for
	s.push(srv, &tailcfg.MapResponse{PeersChanged: []*tailcfg.Node{n}, Health: []string{serial}}, func(m *netmap.Map) bool {
		return m != nil && slices.Contains(m.Health, serial)
	})
}

func identityOf(t testing.TB, srv *Server) identity {
	t.Helper()
	id, err := loadIdentity(srv.Store)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// until returns when ok does; sentence is what it fails with.
func until(t *testing.T, sentence string, ok func() bool) {
	t.Helper()
	ctx := testCtx(t)
	for !ok() {
		if ctx.Err() != nil {
			t.Fatal(sentence)
		}
		runtime.Gosched()
	}
}
