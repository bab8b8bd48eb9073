package meshnet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

func locked(m *tailcfg.MapResponse) { m.TKAInfo = &tailcfg.TKAInfo{Head: "of some lock"} }

func TestTailnetLock(t *testing.T) {
	s := newScripted(t)
	s.first = locked
	careful := s.server("careful")
	for range 2 {
		if _, err := careful.Up(testCtx(t)); !errors.Is(err, ErrTailnetLock) || !strings.Contains(err.Error(), "AllowUnsignedPeers") {
			t.Errorf("Up under a tailnet lock: %v", err)
		}
	}
	if got := careful.Status(); got.State != StateFailed || !errors.Is(got.Err, ErrTailnetLock) {
		t.Errorf("the status is %+v", got)
	}
	trusting := s.server("trusting")
	trusting.AllowUnsignedPeers = true
	if _, err := trusting.Up(testCtx(t)); err != nil {
		t.Errorf("Up under a tailnet lock that does not matter: %v", err)
	}
}

func TestTailnetLockThatWantsOurKeySigned(t *testing.T) {
	s := newScripted(t)
	s.register = func(*tailcfg.RegisterRequest) *tailcfg.RegisterResponse {
		return &tailcfg.RegisterResponse{NodeKeySignature: []byte("sign this")}
	}
	if _, err := s.server("node").Up(testCtx(t)); !errors.Is(err, ErrTailnetLock) {
		t.Errorf("Up: %v", err)
	}
}

// TestTailnetLockWhileUp puts the lock on a mesh with open connections: the
// peers of before have no signature either.
func TestTailnetLockWhileUp(t *testing.T) {
	s := newScripted(t)
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, nil)
	node := a.running()
	resp := new(tailcfg.MapResponse)
	locked(resp)
	s.frame(a, resp)
	if _, err := node.view.wait(testCtx(t), func(v view) (bool, error) { return v.state == StateFailed, nil }); err != nil {
		t.Fatal("the node goes on: ", err)
	}
	if _, err := a.Dial(testCtx(t), "tcp", "b:80"); !errors.Is(err, ErrTailnetLock) {
		t.Errorf("Dial: %v", err)
	}
	if peers := node.wg.Peers(); peers != 0 {
		t.Errorf("WireGuard still has %d peers", peers)
	}
	if node.tun.Filter() != nil {
		t.Error("the packet filter still lets something in")
	}
	if ip4, ip6 := a.IPs(); ip4.IsValid() || ip6.IsValid() {
		t.Errorf("a node out of the mesh has the addresses %v and %v", ip4, ip6)
	}
}

// listenUDP listens on port 7 and returns what arrives.
func listenUDP(t *testing.T, srv *Server) <-chan string {
	t.Helper()
	pc, err := srv.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(chan string, 100)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			texts <- string(buf[:n])
		}
	}()
	return texts
}

func sendUDP(t *testing.T, from, to *Server, text string) {
	t.Helper()
	ip, _ := to.IPs()
	conn, err := from.Dial(testCtx(t), "udp", netip.AddrPortFrom(ip, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func wantText(t *testing.T, texts <-chan string, want string) {
	t.Helper()
	select {
	case got := <-texts:
		if got != want {
			t.Errorf("the first text to arrive is %q, want %q", got, want)
		}
	case <-testCtx(t).Done():
		t.Errorf("%q does not arrive", want)
	}
}

func dropped(srv *Server, why filter.Verdict) func() bool {
	return func() bool { return srv.running().tun.Counters().Dropped[why] > 0 }
}

func TestNothingComesInBeforeTheFirstFilter(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) { m.PacketFilter = nil }
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, nil)
	texts := listenUDP(t, a)
	sendUDP(t, b, a, "too early")
	until(t, "no packet is dropped for want of a filter", dropped(a, filter.DropNoFilter))
	s.push(a, &tailcfg.MapResponse{PacketFilter: allowAll()}, func(m *netmap.Map) bool { return m.FilterKnown })
	sendUDP(t, b, a, "in time")
	wantText(t, texts, "in time")
}

func TestJailedPeerStartsNothing(t *testing.T) {
	s := newScripted(t)
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, func(n *tailcfg.Node) { n.IsJailed = true })
	echo(t, b, "tcp")
	texts := listenUDP(t, a)

	sendUDP(t, b, a, "from the jail")
	until(t, "a jailed peer's datagram is not dropped", dropped(a, filter.DropJailed))
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatalf("a jailed peer cannot be dialled: %v", err)
	}
	defer conn.Close()
	got := make([]byte, 5)
	io.WriteString(conn, "hello")
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("a jailed peer's answer is %q, %v", got, err)
	}
	s.tell(a, b, nil)
	sendUDP(t, b, a, "set free")
	wantText(t, texts, "set free")
}

func TestExpiredPeerIsCutOff(t *testing.T) {
	s := newScripted(t)
	a := s.up("a")
	b := s.up("b")
	echo(t, b, "tcp")
	for _, tt := range []struct {
		why    string
		expire func(*tailcfg.Node)
	}{
		{"the coordinator says so", func(n *tailcfg.Node) { n.Expired = true }},
		{"its time has come", func(n *tailcfg.Node) { n.KeyExpiry = time.Now().Add(-time.Hour) }},
		{"its time comes while it is a peer", func(n *tailcfg.Node) { n.KeyExpiry = time.Now().Add(10 * time.Millisecond) }},
	} {
		s.tell(a, b, tt.expire)
		until(t, tt.why+": WireGuard keeps the peer", func() bool {
			return a.running().wg.Peers() == 0
		})
		conn, err := a.Dial(testCtx(t), "tcp", "b:7")
		if !errors.Is(err, syscall.EHOSTUNREACH) || conn != nil {
			t.Errorf("%s: Dial: %v", tt.why, err)
		}
		if p := a.Status().Peers; len(p) != 1 || !p[0].Expired {
			t.Errorf("%s: the status has the peers %+v", tt.why, p)
		}
	}
	s.tell(a, b, nil)
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatalf("Dial after its renewal: %v", err)
	}
	conn.Close()
}

func TestPeerThatSpeaksWireGuardAlone(t *testing.T) {
	s := newScripted(t)
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, func(n *tailcfg.Node) { n.IsWireGuardOnly = true })
	if _, err := a.Dial(testCtx(t), "udp", "b:7"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("Dial: %v", err)
	}
}

func TestRoutesThroughPeersAreNotTaken(t *testing.T) {
	s := newScripted(t)
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, func(n *tailcfg.Node) {
		n.AllowedIPs = append(n.AllowedIPs, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0"))
	})
	for _, address := range []string{"10.1.2.3:80", "[2001:db8::1]:80"} {
		_, err := a.Dial(testCtx(t), "tcp", address)
		var op *net.OpError
		if !errors.Is(err, syscall.ENETUNREACH) || !errors.As(err, &op) || op.Addr == nil || op.Addr.String() != address {
			t.Errorf("Dial %s: %v", address, err)
		}
	}
}

func TestAllowedIPsAreCutToTheirOwn(t *testing.T) {
	k := key.NewNode().Public()
	for _, tt := range []struct{ why, addresses, allowed, want string }{
		{"its own addresses", "100.64.0.2/32 fd7a::2/128", "100.64.0.2/32 fd7a::2/128", "100.64.0.2/32 fd7a::2/128"},
		{"a network around them", "100.64.0.2/32", "100.64.0.0/24 100.64.0.2/32", "100.64.0.2/32"},
		{"everything", "100.64.0.2/32", "0.0.0.0/0 ::/0", ""},
		{"another's address", "100.64.0.2/32", "100.64.0.3/32 100.64.0.2/32", "100.64.0.2/32"},
		{"an address that it may not use", "100.64.0.2/32 fd7a::2/128", "100.64.0.2/32", "100.64.0.2/32"},
	} {
		peer := &tailcfg.Node{Key: k, Addresses: prefixes(tt.addresses), AllowedIPs: prefixes(tt.allowed)}
		got := routes{}.wgPeers(&netmap.Map{Self: new(tailcfg.Node), Peers: []*tailcfg.Node{peer}}, []*tailcfg.Node{peer}, time.Now())
		want := wg.Peer{Key: k, AllowedIPs: prefixes(tt.want)}
		if got[0].Key != want.Key || !slices.Equal(got[0].AllowedIPs, want.AllowedIPs) {
			t.Errorf("%s: %v becomes %v, want %v", tt.why, tt.allowed, got[0].AllowedIPs, tt.want)
		}
	}
}

// TestOwnKeyExpiresByTheClock has the node renew its key by itself.
func TestOwnKeyExpiresByTheClock(t *testing.T) {
	s := newScripted(t)
	requests := make(chan tailcfg.RegisterRequest, 10)
	s.register = func(req *tailcfg.RegisterRequest) *tailcfg.RegisterResponse {
		requests <- *req
		return nil
	}
	a := s.up("a")
	before := (<-requests).NodeKey
	self := s.node(a)
	self.KeyExpiry = time.Now().Add(10 * time.Millisecond)
	s.frame(a, &tailcfg.MapResponse{Node: self})
	select {
	case again := <-requests:
		if again.OldNodeKey != before || again.NodeKey == before {
			t.Errorf("registers again with %v for %v, before it was %v", again.NodeKey, again.OldNodeKey, before)
		}
	case <-testCtx(t).Done():
		t.Fatal("does not register again")
	}
	if _, err := a.Up(testCtx(t)); err != nil {
		t.Error(err)
	}
}

func TestWhoIsTellsUserTagsAndCapabilities(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) {
		m.UserProfiles = []tailcfg.UserProfile{{ID: 7, LoginName: "alice@example.com", DisplayName: "Alice"}}
		m.PacketFilter = append(m.PacketFilter, tailcfg.FilterRule{
			SrcIPs: []string{"100.64.0.2"},
			CapGrant: []tailcfg.CapGrant{{
				Dsts:   m.Node.Addresses,
				CapMap: map[string][]json.RawMessage{"example.com/cap/edit": {json.RawMessage(`{"all":true}`)}},
			}},
		})
	}
	a := s.up("a")
	b := s.up("b")
	s.tell(a, b, func(n *tailcfg.Node) { n.User = 7 })
	who, err := a.WhoIs(testCtx(t), "100.64.0.2:1234")
	if err != nil {
		t.Fatal(err)
	}
	granted := who.Capabilities["example.com/cap/edit"]
	if len(granted) != 1 || string(granted[0]) != `{"all":true}` {
		t.Errorf("its capabilities are %s", who.Capabilities)
	}
	if want := (User{LoginName: "alice@example.com", DisplayName: "Alice"}); who.User != want || who.Node.User != want.LoginName {
		t.Errorf("it is %+v's, of the node %q's", who.User, who.Node.User)
	}
	if who.Node.Path.Relay != "test" {
		t.Errorf("its path is %v", who.Node.Path)
	}
	granted[0][0] = '!' // the caller's own

	s.tell(a, b, func(n *tailcfg.Node) { n.User, n.Tags = 7, []string{"tag:web"} })
	who, err = a.WhoIs(testCtx(t), "[fd7a:115c:a1e0::2]:1234")
	if err != nil {
		t.Fatal(err)
	}
	if who.User != (User{}) || who.Node.User != "" || !slices.Equal(who.Node.Tags, []string{"tag:web"}) {
		t.Errorf("a tagged node is %+v's, with %+v", who.User, who.Node)
	}
	if len(who.Capabilities) != 0 {
		t.Errorf("the grant is for another address, and it has %s", who.Capabilities)
	}
	if who, err = a.WhoIs(testCtx(t), "100.64.0.2"); err != nil || string(who.Capabilities["example.com/cap/edit"][0]) != `{"all":true}` {
		t.Errorf("what the caller was given is not its own: %+v, %v", who, err)
	}
	if who, err = a.WhoIs(testCtx(t), "::ffff:100.64.0.1"); err != nil || who.Node.Name != "a.mesh.internal" {
		t.Errorf("we are %+v, %v", who, err)
	}
}

func TestCoordinatorThatExpiresEveryKey(t *testing.T) {
	s := newScripted(t)
	s.register = func(*tailcfg.RegisterRequest) *tailcfg.RegisterResponse {
		return &tailcfg.RegisterResponse{NodeKeyExpired: true}
	}
	if _, err := s.server("a").Up(testCtx(t)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Up: %v", err)
	}
}

func TestApprovalIsWaitedFor(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) { m.Node.MachineAuthorized = false }
	a := s.server("a")
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.running().view.wait(testCtx(t), func(v view) (bool, error) { return v.state == StateNeedsApproval, nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Up(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "approve") {
		t.Errorf("Up before the approval: %v", err)
	}
	s.frame(a, &tailcfg.MapResponse{Node: s.node(a)})
	if _, err := a.Up(testCtx(t)); err != nil {
		t.Errorf("Up with the approval: %v", err)
	}
}

func TestMapThatMakesNoSense(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) {
		m.DERPMap = &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
		for id := 1; id <= 2000; id++ {
			m.DERPMap.Regions[id] = &derpmap.Region{RegionID: id}
		}
	}
	if _, err := s.server("a").Up(testCtx(t)); err == nil || !strings.Contains(err.Error(), "makes no sense") {
		t.Errorf("Up: %v", err)
	}
}

func TestLoginPageMustBeAWebPage(t *testing.T) {
	for _, page := range []string{"file:///etc/passwd", "javascript:alert(1)", "login", "https://", "http://\x7f/"} {
		s := newScripted(t)
		s.register = func(*tailcfg.RegisterRequest) *tailcfg.RegisterResponse {
			return &tailcfg.RegisterResponse{AuthURL: page}
		}
		a := s.server("a")
		a.OnAuthURL = func(url string) { t.Errorf("OnAuthURL(%q)", url) }
		if _, err := a.Up(testCtx(t)); err == nil || !strings.Contains(err.Error(), "no web page") {
			t.Errorf("Up with a login at %q: %v", page, err)
		}
	}
}

// A key may expire while the map that has it is being put into force.
func TestExpiryBetweenJudgementAndTimer(t *testing.T) {
	judged := time.Now().Add(-time.Second)
	m := &netmap.Map{Self: &tailcfg.Node{}, Peers: []*tailcfg.Node{{KeyExpiry: judged.Add(time.Millisecond)}}}
	n := &node{view: newPublished(view{netMap: m}), judged: judged}
	if wait := n.untilExpiry(); wait > 0 {
		t.Errorf("the next expiry is looked at in %v, want now", wait)
	}
}
