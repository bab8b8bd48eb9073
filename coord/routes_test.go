package coord

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

var (
	lan  = netip.MustParsePrefix("192.168.7.0/24")
	lan6 = netip.MustParsePrefix("fd00:7::/64")
	all4 = netip.MustParsePrefix("0.0.0.0/0")
	all6 = netip.MustParsePrefix("::/0")
)

func advertise(hostname string, routes ...netip.Prefix) tailcfg.MapRequest {
	return tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: hostname, RoutableIPs: routes}}
}

// changed returns the one peer that a frame has as changed.
func (s *testStream) changed(what string) *tailcfg.Node {
	s.t.Helper()
	resp := s.frame(what)
	if len(resp.PeersChanged) != 1 {
		s.t.Fatalf("%s: %+v, want one peer", what, resp)
	}
	return resp.PeersChanged[0]
}

func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		router, m := ts.machine(), ts.machine()
		router.join("router", authKey)
		m.join("web", authKey)
		s := m.stream("")
		s.frame("the first frame")

		router.report(advertise("router", lan, lan6, all4, all6, netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("192.168.7.9/24")))
		if n := s.changed("routes that nobody has approved"); n.AllowedIPs != nil || !slices.Equal(n.Hostinfo.RoutableIPs, []netip.Prefix{all4, lan, all6, lan6}) {
			t.Errorf("routes that nobody has approved: %+v", n)
		}
		if err := ts.ApproveRoutes(t.Context(), 1, lan); err != nil {
			t.Fatal(err)
		}
		if n := s.changed("one is approved"); !slices.Equal(n.PrimaryRoutes, []netip.Prefix{lan}) || len(n.AllowedIPs) != 3 || n.AllowedIPs[2] != lan {
			t.Errorf("one is approved: %+v", n)
		}
		if err := ts.ApproveRoutes(t.Context(), 1, all4); err != nil {
			t.Fatal(err)
		}
		if n := s.changed("an exit node"); len(n.PrimaryRoutes) != 1 || !slices.Contains(n.AllowedIPs, all4) || !slices.Contains(n.AllowedIPs, all6) {
			t.Errorf("an exit node: %+v", n)
		}
		if got := ts.Routes(); len(got) != 4 || !got[1].Primary || got[1].Prefix != lan || got[3].Approved || !got[3].Advertised {
			t.Errorf("the routes are %+v", got)
		}
		router.report(advertise("router", lan6))
		if n := s.changed("it advertises others"); n.AllowedIPs != nil || n.PrimaryRoutes != nil {
			t.Errorf("it advertises others: %+v", n)
		}
		router.report(advertise("router", lan))
		if n := s.changed("again the first"); len(n.PrimaryRoutes) != 1 {
			t.Errorf("again the first: %+v", n)
		}
		if err := ts.RejectRoutes(t.Context(), 1, lan); err != nil {
			t.Fatal(err)
		}
		if n := s.changed("rejected"); n.AllowedIPs != nil {
			t.Errorf("rejected: %+v", n)
		}
		for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("100.64.0.0/24"), netip.MustParsePrefix("10.0.0.1/8")} {
			if err := ts.ApproveRoutes(t.Context(), 1, p); err == nil {
				t.Errorf("approved %v", p)
			}
		}
		if err := ts.ApproveRoutes(t.Context(), 9, lan); !errors.Is(err, ErrNotFound) {
			t.Errorf("approved for nobody: %v", err)
		}
	})
}

func TestAutoApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		router := ts.machine()
		router.join("router", ts.reusable(AuthKeyOptions{Tags: []string{"tag:router"}}))
		router.report(advertise("router", lan, all4, all6))
		primary := func() (in []netip.Prefix) {
			for _, r := range ts.Routes() {
				if r.Advertised && r.Approved {
					in = append(in, r.Prefix)
				}
			}
			return in
		}
		if got := primary(); got != nil {
			t.Errorf("approved without a policy: %v", got)
		}
		policy := `{"tagOwners": {"tag:router": []}, "autoApprovers": {"routes": {"192.168.0.0/16": ["tag:router"]}, "exitNode": ["tag:exit"]}}`
		if err := ts.SetPolicy(t.Context(), []byte(policy)); err == nil {
			t.Error("a policy with an unknown tag is taken")
		}
		if err := ts.SetPolicy(t.Context(), []byte(strings.Replace(policy, `"tag:exit"`, ``, 1))); err != nil {
			t.Fatal(err)
		}
		if got := primary(); !slices.Equal(got, []netip.Prefix{lan}) {
			t.Errorf("a policy approves what is advertised: %v", got)
		}
		other := netip.MustParsePrefix("192.168.9.0/24")
		router.report(advertise("router", lan, other, lan6))
		if got := primary(); !slices.Equal(got, []netip.Prefix{lan, other}) {
			t.Errorf("a policy approves what comes later: %v", got)
		}
	})
}

// TestFailover has two routers to one network, of which the first goes: at
// once, or without a word.
func TestFailover(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ts := serve(t, Config{})
			authKey := ts.reusable(AuthKeyOptions{})
			first, second, m := ts.machine(), ts.machine(), ts.machine()
			first.join("first", authKey)
			second.join("second", authKey)
			m.join("web", authKey)
			streams := []*testStream{first.stream(""), second.stream("")}
			alive := make([]context.CancelFunc, 2)
			for i, router := range []*machine{first, second} {
				router.report(advertise([]string{"first", "second"}[i], lan))
				if err := ts.ApproveRoutes(t.Context(), int64(i+1), lan); err != nil {
					t.Fatal(err)
				}
				alive[i] = router.answerPings(streams[i])
			}
			primaries := func() (ids []int64) {
				for _, r := range ts.Routes() {
					if r.Primary {
						ids = append(ids, r.Node)
					}
				}
				return ids
			}
			time.Sleep(10 * time.Minute)
			if got := primaries(); !slices.Equal(got, []int64{1}) || !ts.Nodes()[0].Online {
				t.Fatalf("the primary is %v, want the first for as long as it is there", got)
			}
			if alive[0](); !silent {
				streams[0].body.Close()
			}
			time.Sleep(15 * time.Second)
			if got := primaries(); !slices.Equal(got, []int64{2}) {
				t.Errorf("15 seconds after the first has gone the primary is %v", got)
			}
			back := first.stream("")
			first.answerPings(back)
			time.Sleep(time.Minute)
			if got := primaries(); !slices.Equal(got, []int64{2}) {
				t.Errorf("when the first is back the primary is %v, want the one that it is", got)
			}
		})
	}
}

// answerPings reads the stream and answers pings until it is stopped: then the
// connection stays, and nothing comes.
func (m *machine) answerPings(s *testStream) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(m.t.Context())
	go func() {
		for {
			resp, err := s.read()
			if err != nil {
				return
			}
			if resp.PingRequest == nil || ctx.Err() != nil {
				continue
			}
			if u, err := url.Parse(resp.PingRequest.URL); err == nil && resp.PingRequest.URLIsNoise {
				m.head(u.RequestURI())
			}
		}
	}()
	return stop
}

func TestPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		a, b := ts.machine(), ts.machine()
		a.join("a", ts.reusable(AuthKeyOptions{}))
		b.join("b", ts.reusable(AuthKeyOptions{}))
		for path, want := range map[string]int{
			"/machine/pong?node=1&ping=x": 200,
			"/machine/pong?node=2&ping=x": 404, // another's
			"/machine/pong?node=9":        404,
			"/machine/pong?node=x":        404,
			"/machine/pong":               404,
		} {
			if got := a.head(path); got != want {
				t.Errorf("HEAD %s: %d, want %d", path, got, want)
			}
		}
	})
}
