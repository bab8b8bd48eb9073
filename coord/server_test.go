package coord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// reusable returns an auth key that admits any number of nodes.
func (ts *testServer) reusable(o AuthKeyOptions) string {
	ts.t.Helper()
	o.Reusable = true
	k, err := ts.CreateAuthKey(ts.t.Context(), o)
	if err != nil {
		ts.t.Fatal(err)
	}
	return k
}

func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{DNS: DNS{Records: []Record{{"db.mesh.internal", netip.MustParseAddr("100.64.9.9")}}}})
		authKey := ts.reusable(AuthKeyOptions{})
		a, b := ts.machine(), ts.machine()
		a.join("alice", authKey)
		sa := a.stream("zstd")
		first := sa.frame("the first frame")
		if first.Node == nil || first.Node.Name != "alice.mesh.internal." || !first.Node.MachineAuthorized || first.Node.Key != a.node || first.Node.StableID == "" {
			t.Errorf("the first frame says of the node: %+v", first.Node)
		}
		if first.DERPMap == nil || first.DERPMap.Regions[1] == nil || first.PacketFilters["base"] == nil || !first.Debug.DisableLogTail ||
			!first.DNSConfig.Proxied || first.DNSConfig.Domains[0] != "mesh.internal" || len(first.DNSConfig.ExtraRecords) != 1 ||
			len(first.UserProfiles) != 1 || first.UserProfiles[0].ID != first.Node.User || first.Peers != nil {
			t.Errorf("the first frame: %+v", first)
		}

		b.join("bob", authKey)
		if resp := sa.frame("a peer joins"); len(resp.PeersChanged) != 1 || resp.PeersChanged[0].Name != "bob.mesh.internal." || resp.Node != nil || resp.DERPMap != nil {
			t.Errorf("a peer joins: %+v", resp)
		}
		sb := b.stream("")
		if resp := sb.frame("the first frame of the second node"); len(resp.Peers) != 1 || resp.Peers[0].Key != a.node || !*resp.Peers[0].Online {
			t.Errorf("the first frame of the second node: %+v", resp)
		}
		if resp := sa.frame("it is online"); !resp.OnlineChange[2] {
			t.Errorf("it is online: %+v", resp)
		}

		disco := key.NewDisco().Public()
		b.report(tailcfg.MapRequest{
			DiscoKey: disco, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:41641")},
			Hostinfo: &tailcfg.Hostinfo{Hostname: "bob", NetInfo: &tailcfg.NetInfo{PreferredDERP: 1}},
		})
		resp := sa.frame("a peer reports")
		if len(resp.PeersChangedPatch) != 1 || *resp.PeersChangedPatch[0].DiscoKey != disco || resp.PeersChangedPatch[0].DERPRegion != 1 || len(resp.PeersChangedPatch[0].Endpoints) != 1 {
			t.Errorf("a peer reports: %+v", resp)
		}

		if err := ts.SetDERPMap(t.Context(), &derpmap.Map{Regions: map[int]*derpmap.Region{2: {RegionID: 2}}}); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*testStream{sa, sb} {
			if resp := s.frame("the relays change"); resp.DERPMap.Regions[2] == nil || resp.DERPMap.Regions[1] != nil || resp.Node != nil {
				t.Errorf("the relays change: %+v", resp)
			}
		}

		sb.body.Close()
		resp, after := sa.next("a peer goes")
		if p := resp.PeersChangedPatch; len(p) != 1 || *p[0].Online || p[0].LastSeen == nil || after != offlineAfter {
			t.Errorf("a peer goes: %+v after %v, want that it is offline after %v", resp, after, offlineAfter)
		}

		if err := ts.RemoveNode(ts.t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if resp := sa.frame("a peer is removed"); len(resp.PeersRemoved) != 1 {
			t.Errorf("a peer is removed: %+v", resp)
		}
		if code, text := b.status("/machine/map", tailcfg.MapRequest{Version: 130, NodeKey: b.node, Stream: true}); code != 404 {
			t.Errorf("the map for a removed node: %d %s, want 404: it has to register", code, text)
		}
		if err := ts.RemoveNode(ts.t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if resp := sa.frame("removed while it streams"); resp.Node == nil || !resp.Node.Expired {
			t.Errorf("removed while it streams: %+v", resp)
		}
		sa.wantEnd("removed")
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		s := m.stream("zstd")
		s.frame("the first frame")
		for range 100 {
			resp, after := s.next("silence")
			if !resp.KeepAlive || resp.Node != nil || after < keepAlive || after > keepAlive+keepAliveJitter {
				t.Fatalf("got %+v after %v", resp, after)
			}
		}
	})
}

func TestSecondStreamEndsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		watcher, m := ts.machine(), ts.machine()
		watcher.join("watcher", authKey)
		m.join("web", authKey)
		w := watcher.stream("")
		w.frame("the first frame")
		first := m.stream("")
		first.frame("the first frame")
		w.frame("it is online")
		second := m.stream("")
		second.frame("the first frame of the second stream")
		first.wantEnd("a second stream of the node")
		if resp, _ := w.next("the peer of a node that has streamed all the time"); !resp.KeepAlive {
			t.Errorf("got %+v", resp)
		}
	})
}

func TestEphemeralNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{Ephemeral: true})
		watcher := ts.machine()
		watcher.join("watcher", ts.reusable(AuthKeyOptions{}))
		w := watcher.stream("")
		w.frame("the first frame")

		job := ts.machine()
		job.join("job", authKey)
		s := job.stream("")
		s.frame("the first frame")
		w.frame("it has joined")
		w.frame("it is online")
		s.body.Close()
		start := time.Now()
		w.frame("it is offline")
		if resp := w.frame("it is forgotten"); len(resp.PeersRemoved) != 1 || time.Since(start) > time.Minute {
			t.Errorf("it is forgotten: %+v after %v", resp, time.Since(start))
		}

		again := ts.machine()
		again.join("job", authKey)
		if n := ts.Nodes()[1]; n.Name != "job.mesh.internal" || !n.Ephemeral || n.ID == 2 {
			t.Errorf("the next of its name is %+v", n)
		}
		w.frame("it has joined")
		logout := request(again.node, "job", "")
		logout.Expiry = time.Unix(123, 0)
		again.register(logout)
		if resp, after := w.next("it logs out"); len(resp.PeersRemoved) != 1 || after != 0 {
			t.Errorf("it logs out: %+v after %v", resp, after)
		}
		never := ts.machine()
		never.join("never", authKey) // and never asks for its map
		w.frame("it has joined")
		if resp := w.frame("a node that never came is forgotten"); len(resp.PeersRemoved) != 1 {
			t.Errorf("a node that never came: %+v", resp)
		}
	})
}

// TestSlowStream has a node that does not read its stream while hundreds of
// changes happen. Nobody waits for it, and it hears of all in few frames.
func TestSlowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		slow, fast, busy := ts.machine(), ts.machine(), ts.machine()
		slow.join("slow", authKey)
		fast.join("fast", authKey)
		busy.join("busy", authKey)
		ss, sf := slow.stream(""), fast.stream("")
		ss.frame("the first frame")
		sf.frame("the first frame")
		const changes = 500
		long := strings.Repeat("x", 12<<10)
		for i := range changes {
			busy.report(tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "busy", OS: fmt.Sprint(long, i)}})
			if resp := sf.frame("a change"); !strings.HasSuffix(changedOS(resp), fmt.Sprint(i)) {
				t.Fatalf("change %d: %.100v", i, resp)
			}
		}
		frames := 0
		for last := ""; !strings.HasSuffix(last, fmt.Sprint(changes-1)); frames++ {
			if s := changedOS(ss.frame("a slow reader")); s != "" {
				last = s
			}
		}
		if frames > changes*9/10 { // what was in flight when it stopped reading, and the rest at once
			t.Errorf("the slow reader got %d frames for %d changes", frames, changes)
		}
	})
}

// changedOS returns the operating system of the peer that changed.
func changedOS(resp *tailcfg.MapResponse) string {
	if len(resp.PeersChanged) != 1 {
		return ""
	}
	return resp.PeersChanged[0].Hostinfo.OS
}

// TestStuckStream has a node that never reads again: it is cut off, and
// offline to the others.
func TestStuckStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		stuck, busy := ts.machine(), ts.machine()
		stuck.join("stuck", authKey)
		busy.join("busy", authKey)
		stuck.stream("")
		long := strings.Repeat("x", 12<<10)
		for i := range 500 { // more than flow control lets through
			busy.report(tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "busy", OS: fmt.Sprint(long, i)}})
			synctest.Wait() // until it is told: else many could be told as one
		}
		time.Sleep(frameTimeout + time.Minute)
		if n := ts.Nodes()[0]; n.Online {
			t.Errorf("%v after it stopped reading: %+v", frameTimeout+time.Minute, n)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		ts := serve(t, Config{Store: store})
		once, err := ts.CreateAuthKey(ts.t.Context(), AuthKeyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		often := ts.reusable(AuthKeyOptions{})
		a, b := ts.machine(), ts.machine()
		a.join("web", once)
		b.join("web", often)
		sa := a.stream("")
		sa.frame("the first frame")
		disco := key.NewDisco().Public()
		a.report(tailcfg.MapRequest{DiscoKey: disco, Hostinfo: &tailcfg.Hostinfo{Hostname: "web", NetInfo: &tailcfg.NetInfo{PreferredDERP: 1}}})
		before, public := ts.Nodes(), ts.PublicKey()
		ts.stop()
		sa.wantEnd("the coordinator is closed")

		ts = serve(t, Config{Store: store})
		if ts.PublicKey() != public {
			t.Error("the coordinator has another key")
		}
		after := ts.Nodes()
		if len(after) != 2 || after[0].Name != before[0].Name || after[1].IPv4 != before[1].IPv4 || after[0].Key != before[0].Key || after[0].HomeDERP != 1 {
			t.Errorf("nodes before and after:\n%+v\n%+v", before, after)
		}
		a.ts, b.ts = ts, ts
		a.http.CloseIdleConnections()
		if resp := a.stream("").frame("the node comes back by itself"); resp.Node.DiscoKey != disco || len(resp.Peers) != 1 {
			t.Errorf("the node comes back by itself: %+v", resp)
		}
		b.http.CloseIdleConnections()
		b.join("web", "") // it is known: no key
		c := ts.machine()
		if resp := c.register(request(c.node, "c", once)); !strings.Contains(resp.Error, "used already") {
			t.Errorf("a used key after the restart: %+v", resp)
		}
		c.join("web", often)
		if n := ts.Nodes()[2]; n.ID != 3 || n.Name != "web-2.mesh.internal" {
			t.Errorf("the third node is %+v", n)
		}
	})
}

func TestLoginByApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{URL: "https://coord.example.com/"})
		m := ts.machine()
		resp := m.register(request(m.node, "web", ""))
		if !strings.HasPrefix(resp.AuthURL, "https://coord.example.com/login/") || resp.MachineAuthorized {
			t.Fatalf("without a key: %+v", resp)
		}
		follow := request(m.node, "web", "")
		follow.Followup = resp.AuthURL
		go func() {
			time.Sleep(42 * time.Minute)
			if err := ts.Approve(ts.t.Context(), resp.AuthURL, ApproveOptions{}); err != nil {
				t.Errorf("approve: %v", err)
			}
		}()
		start := time.Now()
		if resp := m.register(follow); !resp.MachineAuthorized || time.Since(start) != 42*time.Minute {
			t.Errorf("approved: %+v after %v", resp, time.Since(start))
		}

		late := ts.machine()
		url := late.register(request(late.node, "late", "")).AuthURL
		follow = request(late.node, "late", "")
		follow.Followup = url
		start = time.Now()
		if resp := late.register(follow); resp.AuthURL == "" || resp.AuthURL == url || time.Since(start) != loginLifetime {
			t.Errorf("never approved: %+v after %v; want another URL", resp, time.Since(start))
		}
		if code, _ := ts.get("GET", strings.TrimPrefix(url, "https://coord.example.com"), nil); code != 303 {
			t.Errorf("opening the URL: %d, want to be sent to where administrators sign in", code)
		}

		waiting := ts.machine()
		follow = request(waiting.node, "waiting", "")
		follow.Followup = waiting.register(follow).AuthURL
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if resp, err := waiting.post(context.Background(), "/machine/register", follow); err == nil {
				resp.Body.Close()
			}
		}()
		synctest.Wait()
		ts.stop()
		<-ended
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{KeyExpiry: time.Hour})
		authKey := ts.reusable(AuthKeyOptions{})
		a, b := ts.machine(), ts.machine()
		a.join("a", authKey)
		sa := a.stream("")
		if resp := sa.frame("the first frame"); time.Until(resp.Node.KeyExpiry) != time.Hour {
			t.Errorf("expires at %v", resp.Node.KeyExpiry)
		}
		time.Sleep(time.Minute)
		b.join("b", authKey)
		sa.frame("a peer joins")
		resp := sa.frame("it expires")
		if resp.Node == nil || !resp.Node.Expired || len(resp.PeersRemoved) != 1 {
			t.Errorf("it expires: %+v", resp)
		}
		if resp := a.register(request(a.node, "a", authKey)); !resp.NodeKeyExpired {
			t.Errorf("registering an expired key: %+v", resp)
		}
		old := a.node
		a.node = nodeKey()
		req := request(a.node, "a", authKey)
		req.OldNodeKey = old
		if resp := a.register(req); !resp.MachineAuthorized {
			t.Errorf("registering a new key: %+v", resp)
		}
		if resp := sa.frame("back"); resp.Node == nil || resp.Node.Expired || resp.Node.Key != a.node {
			t.Errorf("back: %+v", resp)
		}
	})
}

func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		upgrade := http.Header{"Upgrade": {upgradeProtocol}, "Connection": {"upgrade"}}
		garbage := upgrade.Clone()
		garbage.Set(handshakeHeader, "not base64")
		for _, c := range []struct {
			method, path string
			header       http.Header
			code         int
		}{
			{"GET", "/key?v=130", nil, 200},
			{"GET", "/key", nil, 400},
			{"GET", "/key?v=x", nil, 400},
			{"POST", "/key?v=130", nil, 405},
			{"GET", "/", nil, 404},
			{"POST", "/machine/register", nil, 404}, // not outside the Noise connection
			{"POST", "/machine/map", nil, 404},
			{"GET", "/ts2021", nil, 400},
			{"GET", "/ts2021?X-Tailscale-Handshake=AAAA", nil, 400},
			{"PUT", "/ts2021", nil, 405},
			{"POST", "/ts2021", nil, 400},
			{"POST", "/ts2021", upgrade, 400},
			{"POST", "/ts2021", garbage, 400},
		} {
			if code, text := ts.get(c.method, c.path, c.header); code != c.code {
				t.Errorf("%s %s: %d %s, want %d", c.method, c.path, code, text, c.code)
			}
		}
		_, text := ts.get("GET", "/key?v=130", nil)
		if want := fmt.Sprintf(`{"legacyPublicKey":"mkey:%064d","publicKey":"%v"}`, 0, ts.PublicKey()); strings.TrimSpace(text) != want {
			t.Errorf("GET /key: %s, want %s", text, want)
		}

		m := ts.machine()
		big, _ := json.Marshal(strings.Repeat("x", maxBody))
		for _, c := range []struct {
			path string
			body any
			code int
		}{
			{"/machine/set-dns", struct{}{}, 501},
			{"/machine/whoami", struct{}{}, 404},
			{"/machine/register", []byte("{"), 400},
			{"/machine/register", []byte(`{"NodeKey":"nodekey:zz"}`), 400},
			{"/machine/register", big, 400},
			{"/machine/map", []byte("null"), 404},
			{"/machine/map", tailcfg.MapRequest{NodeKey: nodeKey(), Stream: true}, 404},
		} {
			if code, text := m.status(c.path, c.body); code != c.code {
				t.Errorf("%s: %d %s, want %d", c.path, code, text, c.code)
			}
		}
		victim := ts.machine()
		victim.join("victim", ts.reusable(AuthKeyOptions{}))
		if code, _ := m.status("/machine/map", tailcfg.MapRequest{NodeKey: victim.node, Stream: true}); code != 404 {
			t.Errorf("another machine's map: %d", code)
		}
		if code, text := victim.status("/machine/map", tailcfg.MapRequest{NodeKey: victim.node}); code != 200 || len(text) < 100 {
			t.Errorf("a map without a stream: %d %q", code, text)
		}
	})
}

// TestHandshake has connections that do not go on: none is kept.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		for what, says := range map[string]string{
			"a handshake that is none":    "AAAA",
			"a handshake of random bytes": strings.Repeat("A", 136),
		} {
			nc, _ := ts.dial()
			fmt.Fprintf(nc, "POST /ts2021 HTTP/1.1\r\nHost: c\r\nUpgrade: %s\r\nConnection: upgrade\r\n%s: %s\r\n\r\n", upgradeProtocol, handshakeHeader, says)
			if data, err := io.ReadAll(nc); err != nil || !bytes.Contains(data, []byte("101 Switching")) {
				t.Errorf("%s: %q, %v", what, data, err)
			}
		}
		conn, err := ts.machine().upgrade()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		io.Copy(io.Discard, conn) // says nothing
		if after := time.Since(start); after > handshakeTimeout {
			t.Errorf("a silent connection is kept for %v", after)
		}
		nc, _ := ts.dial()
		message := strings.Repeat("A", 136)
		go fmt.Fprintf(nc, "POST /ts2021 HTTP/1.1\r\nHost: c\r\nUpgrade: %s\r\nConnection: upgrade\r\n%s: %s\r\n\r\n", upgradeProtocol, handshakeHeader, message)
		time.Sleep(handshakeTimeout + time.Second) // reads nothing
		if _, err := nc.Write([]byte("x")); err == nil {
			t.Error("a connection that does not read its handshake is kept")
		}
		synctest.Wait()
		if c := &ts.Server.conns; c.total != 0 || c.strangers != 0 || len(c.machines) != 0 {
			t.Errorf("%d connections are still counted, %d of strangers", c.total, c.strangers)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		s := m.stream("")
		s.frame("the first frame")
		nc, _ := ts.dial() // in the middle of the upgrade
		go fmt.Fprintf(nc, "POST /ts2021 HTTP/1.1\r\nHost: c\r\nUpgrade: %s\r\nConnection: upgrade\r\n%s: AAAA\r\n\r\n", upgradeProtocol, handshakeHeader)
		synctest.Wait()
		start := time.Now()
		for range 2 {
			if err := ts.Close(); err != nil {
				t.Error(err)
			}
		}
		if after := time.Since(start); after != 0 {
			t.Errorf("Close took %v", after)
		}
		s.wantEnd("closed")
		if code, _ := ts.get("GET", "/key?v=130", nil); code != 503 {
			t.Errorf("after Close: %d", code)
		}
	})
}

// failingStore is a store whose disk is full.
type failingStore struct {
	Store
	full atomic.Bool
}

func (f *failingStore) Commit(ctx context.Context, changes []Change) (int64, error) {
	if f.full.Load() {
		return 0, errors.New("disk full")
	}
	return f.Store.Commit(ctx, changes)
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failingStore{Store: NewMemoryStore()}
		ts := serve(t, Config{Store: store})
		once, _ := ts.CreateAuthKey(t.Context(), AuthKeyOptions{})
		store.full.Store(true)
		if _, err := ts.CreateAuthKey(t.Context(), AuthKeyOptions{}); err == nil {
			t.Error("made an auth key that will be forgotten")
		}
		m := ts.machine()
		if code, text := m.status("/machine/register", request(m.node, "web", once)); code != 503 || strings.Contains(text, "disk") {
			t.Errorf("registered without storing it: %d %s", code, text)
		}
		if keys, err := ts.AuthKeys(t.Context()); err != nil || len(keys) != 1 || keys[0].Uses != 0 || len(ts.Nodes()) != 0 {
			t.Errorf("what could not be stored is in force: %+v, %v, %+v", keys, err, ts.Nodes())
		}
		time.Sleep(time.Minute) // it tries to show that it lives
		store.full.Store(false)
		m.join("web", once) // tries again
	})
}

func TestNewRefuses(t *testing.T) {
	store := func(records ...record) Store {
		s := NewMemoryStore()
		for _, r := range records {
			value, _ := json.Marshal(r)
			s.Commit(t.Context(), []Change{{Key: r.entryKey(), Value: value}})
		}
		return s
	}
	damaged := func(value string) Store {
		s := NewMemoryStore()
		s.Commit(t.Context(), []Change{{Key: kindTailnet, Value: []byte(value)}})
		return s
	}
	tn := newTailnet()
	n := node{ID: 1, Key: nodeKey(), Machine: machineKey(), Name: "n", IPv4: netip.MustParseAddr("100.64.0.1"), IPv6: netip.MustParseAddr("fd7a:115c:a1e0::1")}
	twin := n
	twin.ID = 2
	if s, err := New(Config{Store: store(tn, &n)}); err != nil {
		t.Errorf("a good store: %v", err)
	} else {
		s.Close()
	}
	for what, c := range map[string]Config{
		"a domain that is none":          {Domain: "mesh internal"},
		"a policy that is none":          {Policy: []byte(`{"acls":1}`)},
		"a record without address":       {DNS: DNS{Records: []Record{{Name: "x"}}}},
		"a prefix outside the mesh":      {IPv4: netip.MustParsePrefix("10.0.0.0/8")},
		"a region with another's ID":     {DERPMap: &derpmap.Map{Regions: map[int]*derpmap.Region{1: {}}}},
		"a truncated store":              {Store: damaged(`{"Format":2,"Key":"`)},
		"an empty record":                {Store: damaged("")},
		"a store of the future":          {Store: damaged(`{"Format":3}`)},
		"a store without a key":          {Store: damaged(`{"Format":2}`)},
		"a store with two of one name":   {Store: store(tn, &n, &twin)},
		"a store with an empty node":     {Store: store(tn, &node{ID: 1})},
		"a store with an empty auth key": {Store: store(tn, &authKey{AuthKey: AuthKey{ID: "x"}})},
	} {
		s, err := New(c)
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), tn.Key) {
			t.Errorf("%s: the error shows the key: %v", what, err)
		}
	}
}
