package coord

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

func TestMain(m *testing.M) { leak.Main(m) }

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testState() *state {
	alloc, err := newAllocator(netip.Prefix{}, netip.Prefix{})
	if err != nil {
		panic(err)
	}
	s := newState("self", alloc, 0)
	if err := s.found(epoch); err != nil {
		panic(err)
	}
	return s
}

func machineKey() key.MachinePublic { return key.NewMachine().Public() }
func nodeKey() key.NodePublic       { return key.NewNode().Public() }

// request returns the registration of a node.
func request(k key.NodePublic, hostname, authKey string) *tailcfg.RegisterRequest {
	req := &tailcfg.RegisterRequest{Version: 130, NodeKey: k, Hostinfo: &tailcfg.Hostinfo{Hostname: hostname}}
	if authKey != "" {
		req.Auth = &tailcfg.RegisterAuth{AuthKey: authKey}
	}
	return req
}

// authKey makes an auth key at epoch.
func (s *state) authKey(t *testing.T, o AuthKeyOptions) string {
	t.Helper()
	text, err := s.createAuthKey(epoch, o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// join registers a new node with an auth key of its own.
func (s *state) join(t *testing.T, hostname string) *node {
	t.Helper()
	return s.joinWith(t, hostname, AuthKeyOptions{})
}

func (s *state) joinWith(t *testing.T, hostname string, o AuthKeyOptions) *node {
	t.Helper()
	a, err := s.register(epoch, machineKey(), request(nodeKey(), hostname, s.authKey(t, o)))
	if err != nil || a.node == nil {
		t.Fatalf("%s joins: %+v, %v", hostname, a, err)
	}
	return a.node
}

// wantNode checks that a registration was admitted.
func wantNode(t *testing.T, what string, a admission, err error) *node {
	t.Helper()
	if err != nil || a.node == nil {
		t.Fatalf("%s: got %+v, %v; want a node", what, a, err)
	}
	return a.node
}

func wantRefused(t *testing.T, what, reason string, a admission, err error) {
	t.Helper()
	var r refusal
	if !errors.As(err, &r) || !strings.Contains(r.Error(), reason) {
		t.Errorf("%s: got %+v, %v; want a refusal because %s", what, a, err, reason)
	}
}

func TestAuthKeys(t *testing.T) {
	s := testState()
	once := s.authKey(t, AuthKeyOptions{})
	often := s.authKey(t, AuthKeyOptions{Reusable: true, Lifetime: time.Hour})
	revoked := s.authKey(t, AuthKeyOptions{Reusable: true})
	if err := s.revokeAuthKey(revoked); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, key string
		at        time.Duration
		refused   string // or "" for admitted
	}{
		{"a new key", once, 0, ""},
		{"a second use", once, 0, "used already"},
		{"a reusable key", often, 0, ""},
		{"a reusable key again", often, time.Hour - 1, ""},
		{"a reusable key too late", often, time.Hour, "expired on 2026-01-02T04:04:05Z"},
		{"a revoked key", revoked, 0, "revoked"},
		{"no key of ours", "tskey-auth-xyz", 0, "knows no such auth key"},
		{"an ID without secret", authKeyID(often), 0, "knows no such auth key"},
		{"an ID with another secret", often + "x", 0, "knows no such auth key"},
	} {
		a, err := s.register(epoch.Add(c.at), machineKey(), request(nodeKey(), "n", c.key))
		if c.refused != "" {
			wantRefused(t, c.what, c.refused, a, err)
		} else {
			wantNode(t, c.what, a, err)
		}
	}
	if len(s.nodes) != 3 {
		t.Errorf("%d nodes, want the 3 that were admitted", len(s.nodes))
	}
	changes, _ := s.changes()
	var data string
	for _, c := range changes {
		data += string(c.Value)
	}
	for _, k := range []string{once, often, revoked} {
		if _, secret, _ := strings.Cut(strings.TrimPrefix(k, authKeyPrefix), "-"); strings.Contains(data, secret) {
			t.Error("the secret of a key is stored")
		}
	}
}

func TestAuthKeysAreForgotten(t *testing.T) {
	s := testState()
	used := s.authKey(t, AuthKeyOptions{})
	unused := s.authKey(t, AuthKeyOptions{})
	s.register(epoch.Add(time.Hour), machineKey(), request(nodeKey(), "n", used))
	count := func(at time.Duration, want int, what string) {
		t.Helper()
		if _, err := s.createAuthKey(epoch.Add(at), AuthKeyOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := len(s.listAuthKeys()); got != want {
			t.Errorf("%s: %d keys, want %d", what, got, want)
		}
	}
	count(forgetKeys, 3, "thirty days after it was made, not yet after its use")
	count(forgetKeys+2*time.Hour, 3, "thirty days after its use")
	if s.authKeys[authKeyID(unused)] == nil {
		t.Error("a key that can still be used was forgotten")
	}
}

func TestTags(t *testing.T) {
	s := testState()
	for _, tag := range []string{"web", "tag:", "tag:Web", "tag:a b"} {
		if _, err := s.createAuthKey(epoch, AuthKeyOptions{Tags: []string{tag}}); err == nil {
			t.Errorf("made an auth key with the tag %q", tag)
		}
	}
	s.keyExpiry = time.Hour
	ask := func(authKey string, tags ...string) (admission, error) {
		req := request(nodeKey(), "n", authKey)
		req.Hostinfo.RequestTags = tags
		return s.register(epoch, machineKey(), req)
	}
	tagged := AuthKeyOptions{Tags: []string{"tag:web", "tag:db", "tag:web"}}
	a, err := ask(s.authKey(t, tagged))
	n := wantNode(t, "the key gives the tags", a, err)
	if w := n.wire("d"); strings.Join(w.Tags, ",") != "tag:db,tag:web" || w.User != taggedUser || !w.KeyExpiry.IsZero() {
		t.Errorf("a tagged node is %+v", w)
	}
	a, err = ask(s.authKey(t, tagged), "tag:web")
	wantNode(t, "asking for what the key gives", a, err)
	k := s.authKey(t, AuthKeyOptions{})
	a, err = ask(k, "tag:web")
	wantRefused(t, "asking for more", `"tag:web"`, a, err)
	a, err = ask(k)
	wantNode(t, "and the key is not used up by it", a, err)
	if a, err = ask("", "tag:web"); err != nil || a.login == nil {
		t.Errorf("asking an administrator for tags: got %+v, %v; want a login", a, err)
	}
}

func TestRegisterAgain(t *testing.T) {
	s := testState()
	s.keyExpiry = time.Hour
	m, k1, k2, k3 := machineKey(), nodeKey(), nodeKey(), nodeKey()
	once := s.authKey(t, AuthKeyOptions{})
	a, err := s.register(epoch, m, request(k1, "web", once))
	n := wantNode(t, "the first time", a, err)

	a, err = s.register(epoch, m, request(k1, "web", once))
	if wantNode(t, "a restart does not look at the key", a, err) != n {
		t.Error("a registration that says nothing new changed the record")
	}
	a, err = s.register(epoch, machineKey(), request(k1, "web", s.authKey(t, AuthKeyOptions{})))
	wantRefused(t, "another machine with the node key", "belongs to another machine", a, err)

	rotate := func(from, to key.NodePublic) *tailcfg.RegisterRequest {
		req := request(to, "web", "")
		req.OldNodeKey = from
		return req
	}
	a, err = s.register(epoch, machineKey(), rotate(k1, k2))
	wantRefused(t, "another machine rotates", "belongs to another machine", a, err)
	a, err = s.register(epoch.Add(time.Minute), m, rotate(k1, k2))
	got := wantNode(t, "rotation needs no auth key", a, err)
	if got.ID != n.ID || got.IPv4 != n.IPv4 || got.Name != "web" || got.Key != k2 || !got.KeyExpiry.Equal(n.KeyExpiry) {
		t.Errorf("rotation: got %+v, want the record of before, expiring when it did", got)
	}
	if s.find(k1, m) != nil || s.find(k2, m) == nil {
		t.Error("the old key still works, or the new one does not")
	}

	late := epoch.Add(time.Hour)
	s.advance(late)
	if a, err = s.register(late, m, request(k2, "web", "")); err != nil || !a.expired {
		t.Errorf("an expired key: %+v, %v", a, err)
	}
	if a, err = s.register(late, m, rotate(k2, k3)); err != nil || a.login == nil {
		t.Errorf("rotating an expired key: %+v, %v; want a login", a, err)
	}
	again, _ := s.createAuthKey(late, AuthKeyOptions{})
	req := rotate(k2, k3)
	req.Auth = &tailcfg.RegisterAuth{AuthKey: again}
	a, err = s.register(late, m, req)
	got = wantNode(t, "rotating an expired key with a new auth key", a, err)
	if got.ID != n.ID || got.Expired || !got.KeyExpiry.Equal(late.Add(time.Hour)) {
		t.Errorf("re-admitted: %+v", got)
	}
}

func TestBadRegistrations(t *testing.T) {
	s := testState()
	old := request(nodeKey(), "n", "")
	old.Version = minVersion - 1
	a, err := s.register(epoch, machineKey(), old)
	wantRefused(t, "old software", "too old", a, err)
	a, err = s.register(epoch, machineKey(), request(key.NodePublic{}, "n", ""))
	wantRefused(t, "no node key", "no node key", a, err)
	s.alloc, _ = newAllocator(netip.MustParsePrefix("100.64.0.0/30"), netip.Prefix{})
	s.join(t, "a")
	s.join(t, "b")
	k := s.authKey(t, AuthKeyOptions{})
	a, err = s.register(epoch, machineKey(), request(nodeKey(), "c", k))
	wantRefused(t, "no addresses left", "all addresses", a, err)
	if s.authKeys[authKeyID(k)].Uses != 0 {
		t.Error("the auth key was used up by a refusal")
	}
}

func TestLogout(t *testing.T) {
	s := testState()
	kept, gone := s.join(t, "kept"), s.joinWith(t, "gone", AuthKeyOptions{Ephemeral: true})
	for _, n := range []*node{kept, gone} {
		req := request(n.Key, n.Name, "")
		req.Expiry = time.Unix(123, 0)
		if a, err := s.register(epoch, machineKey(), req); err == nil {
			t.Errorf("another machine logged %s out: %+v", n.Name, a)
		}
		for range 2 { // the second time there is nothing to do
			if a, err := s.register(epoch, n.Machine, req); err != nil || !a.expired {
				t.Errorf("%s logs out: %+v, %v", n.Name, a, err)
			}
		}
	}
	if s.nodes[gone.ID] != nil || !s.nodes[kept.ID].Expired {
		t.Error("an ephemeral node must be gone, another expired")
	}
	a, err := s.register(epoch, kept.Machine, request(nodeKey(), "kept", s.authKey(t, AuthKeyOptions{})))
	if n := wantNode(t, "logging in again", a, err); n.ID != kept.ID || n.IPv4 != kept.IPv4 || n.Name != "kept" {
		t.Errorf("the machine did not get its record back: %+v", n)
	}
	if n := s.join(t, "gone"); n.Name != "gone" || n.ID <= gone.ID {
		t.Errorf("the name of the ephemeral node was not free, or its ID was: %+v", n)
	}
}

func TestLogin(t *testing.T) {
	s := testState()
	m, k := machineKey(), nodeKey()
	ask := func(at time.Duration) (admission, error) {
		return s.register(epoch.Add(at), m, request(k, "web", ""))
	}
	a, err := ask(0)
	if err != nil || a.login == nil {
		t.Fatalf("without a key: %+v, %v", a, err)
	}
	url := "https://coord.example.com/login/" + a.login.ID
	if b, _ := ask(time.Minute); b.login != a.login {
		t.Error("asking again made another login")
	}
	if b, _ := s.register(epoch, machineKey(), request(k, "web", "")); b.login == nil || b.login == a.login {
		t.Errorf("another machine with the same node key got %+v", b)
	}
	if err := s.approve(epoch, "https://coord.example.com/login/guess", ApproveOptions{}); err == nil {
		t.Error("approved a login that is not")
	}
	if err := s.approve(epoch.Add(time.Minute), url, ApproveOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err = ask(2 * time.Minute)
	n := wantNode(t, "after approval", a, err)
	if err := s.approve(epoch.Add(3*time.Minute), url, ApproveOptions{}); err == nil {
		t.Error("a login can be approved after it was used")
	}

	s.expire(epoch, n)
	k = nodeKey()
	a, _ = ask(0)
	first := a.login
	s.advance(epoch.Add(loginLifetime))
	if err := s.approve(epoch.Add(loginLifetime), first.ID, ApproveOptions{}); err == nil {
		t.Error("approved an expired login")
	}
	if a, _ = ask(loginLifetime); a.login == nil || a.login == first {
		t.Error("no new login after the first one expired")
	}
}

func TestLoginsAreBounded(t *testing.T) {
	s := testState()
	for range maxLogins {
		if _, err := s.register(epoch, machineKey(), request(nodeKey(), "n", "")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.register(epoch, machineKey(), request(nodeKey(), "n", "")); !errors.Is(err, errTooManyLogins) {
		t.Errorf("got %v", err)
	}
	s.advance(epoch.Add(loginLifetime))
	if len(s.logins) != 0 {
		t.Errorf("%d logins left after all expired", len(s.logins))
	}
}

func TestNodesAreBounded(t *testing.T) {
	s := testState()
	authKey := s.authKey(t, AuthKeyOptions{Reusable: true})
	n := s.join(t, "first")
	for len(s.nodes) < maxNodes {
		id := tailcfg.NodeID(len(s.nodes) + 1)
		s.put(&node{ID: id, Key: key.NodePublicFromRaw32([32]byte{byte(id), byte(id >> 8)})})
	}
	a, err := s.register(epoch, machineKey(), request(nodeKey(), "late", authKey))
	wantRefused(t, "one node more", "full", a, err)
	rotated := request(nodeKey(), "first", "")
	rotated.OldNodeKey = n.Key
	a, err = s.register(epoch, n.Machine, rotated)
	wantNode(t, "a node that changes its key", a, err)
}

func TestPresence(t *testing.T) {
	s := testState()
	n := s.joinWith(t, "job", AuthKeyOptions{Ephemeral: true})
	lasting := s.join(t, "web")
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	online := func(what string, now time.Duration, want bool) {
		t.Helper()
		s.advance(at(now))
		if got := s.nodes[n.ID]; got == nil || got.online() != want {
			t.Fatalf("%s: %+v, want online: %v", what, got, want)
		}
	}
	online("before its first stream", 0, false)
	s.connected(n.ID)
	online("with a stream", 1*time.Second, true)
	s.disconnected(at(20*time.Second), n.ID)
	online("just disconnected", 29*time.Second, true)
	s.connected(n.ID)
	online("back in time", 60*time.Second, true)
	s.disconnected(at(100*time.Second), n.ID)
	if s.due.After(at(110 * time.Second)) {
		t.Errorf("due at %v, want the end of the grace", s.due)
	}
	online("gone", 110*time.Second, false)
	if got := s.nodes[n.ID].LastSeen; !got.Equal(at(100 * time.Second)) {
		t.Errorf("last seen %v, want the end of its stream", got)
	}
	online("an ephemeral node may still return", 149*time.Second, false)
	if s.due.After(at(150 * time.Second)) {
		t.Errorf("due at %v, want when it is forgotten", s.due)
	}
	s.advance(at(150 * time.Second))
	if s.nodes[n.ID] != nil || s.nodes[lasting.ID] == nil {
		t.Error("the ephemeral node is to be forgotten, the other not")
	}
	if want := s.coordinators["self"].Beat.Add(beatInterval); !s.due.Equal(want) {
		t.Errorf("due at %v with nothing left to do but to show life at %v", s.due, want)
	}
}

// TestCoordinatorDies has a node that streams from another coordinator, which
// is heard of no more.
func TestCoordinatorDies(t *testing.T) {
	s := testState()
	s.advance(epoch)
	n := s.join(t, "web")
	other := &coordinator{ID: "other"}
	told := func(at time.Time, r record, revision int64) {
		t.Helper()
		value, _ := json.Marshal(r)
		if err := s.merge(at, []Entry{{Key: r.entryKey(), Value: value, Revision: revision}}); err != nil {
			t.Fatal(err)
		}
	}
	s.committed(1)
	told(epoch, other, 2)
	there := *n
	there.Stream = "other"
	told(epoch, &there, 3)
	beat := epoch.Add(30 * time.Second)
	told(beat, other, 4)
	for _, step := range []struct {
		at     time.Duration
		online bool
	}{
		{deadAfter - 1, true},
		{deadAfter, true}, // it may have gone over to us
		{deadAfter + offlineAfter - 1, true},
		{deadAfter + offlineAfter, false},
	} {
		s.advance(beat.Add(step.at))
		if got := s.nodes[n.ID].online(); got != step.online {
			t.Errorf("%v after the last beat: online %v", step.at, got)
		}
	}
	if s.coordinators["other"] != nil {
		t.Error("the dead coordinator is still in the books")
	}
}

func TestReport(t *testing.T) {
	s := testState()
	n := s.join(t, "web")
	disco := key.NewDisco().Public()
	full := &tailcfg.MapRequest{
		Version: 131, DiscoKey: disco,
		Endpoints: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.1:41641"),
			netip.MustParseAddrPort("[fe80::1%eth0]:41641"),
			netip.MustParseAddrPort("[fe80::1]:41641"),
			netip.MustParseAddrPort("0.0.0.0:41641"),
			netip.MustParseAddrPort("192.0.2.1:0"),
			{},
		},
		Hostinfo: &tailcfg.Hostinfo{Hostname: "Web", OS: "linux", NetInfo: &tailcfg.NetInfo{PreferredDERP: 7}},
	}
	n = s.report(n, full)
	if n.DiscoKey != disco || n.HomeDERP != 7 || n.Version != 131 || n.Name != "web" || len(n.Endpoints) != 1 || n.Hostinfo.NetInfo != nil {
		t.Fatalf("reported: %+v", n)
	}
	if s.report(n, full) != n {
		t.Error("a report that says nothing new is a change")
	}
	n = s.report(n, &tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "db"}})
	if n.DiscoKey != disco || n.HomeDERP != 7 || n.Version != 131 || n.Name != "db" || n.Endpoints != nil {
		t.Errorf("what is absent stays, but for endpoints: %+v", n)
	}
	n = s.report(n, &tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "db", NetInfo: &tailcfg.NetInfo{PreferredDERP: 1 << 20}}})
	if n.HomeDERP != 7 {
		t.Errorf("home region %d, which cannot be", n.HomeDERP)
	}
	n = s.report(n, &tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: strings.Repeat("é", 1<<19), App: "x"}})
	if data, _ := json.Marshal(n.Hostinfo); len(data) > 1000 {
		t.Errorf("%d bytes of Hostinfo kept", len(data))
	}
	many := make([]netip.AddrPort, 10*maxEndpoints)
	for i := range many {
		many[i] = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i+1))
	}
	if n = s.report(n, &tailcfg.MapRequest{Endpoints: many}); len(n.Endpoints) != maxEndpoints {
		t.Errorf("%d endpoints kept", len(n.Endpoints))
	}
	fresh := s.recall(s.join(t, "fresh"), full)
	if fresh.DiscoKey != disco {
		t.Error("a stream's request does not fill a record that lacks the disco key")
	}
	if s.recall(n, full) != n {
		t.Error("a stream's request changes a record that has reported")
	}
}

func TestRename(t *testing.T) {
	s := testState()
	a, b := s.join(t, "web"), s.join(t, "web")
	for _, name := range []string{"web", "Not A Label", "a.b"} {
		if err := s.rename(b, name); err == nil {
			t.Errorf("renamed to %q", name)
		}
	}
	if err := s.rename(s.nodes[a.ID], "front"); err != nil {
		t.Fatal(err)
	}
	a = s.report(s.nodes[a.ID], &tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "other"}})
	if a.Name != "front" {
		t.Errorf("the node took the administrator's name back: %q", a.Name)
	}
	if err := s.rename(s.nodes[a.ID], ""); err != nil || s.nodes[a.ID].Name != "other" {
		t.Errorf("unnamed, it is %q, %v; want what it asks for now", s.nodes[a.ID].Name, err)
	}
}
