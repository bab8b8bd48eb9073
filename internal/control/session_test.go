package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

func TestJoin(t *testing.T) {
	old := key.NewNode().Public()
	endpoints := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:41641")}
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := want(t, "it registers", c.registers)
		if r := x.register; r.NodeKey != testNode || r.OldNodeKey != old || r.Auth.AuthKey != testAuthKey ||
			!r.Ephemeral || r.Hostinfo.Hostname != "one" || r.Version != tailcfg.CurrentCapability || !r.Expiry.IsZero() {
			t.Errorf("registers with %s", x.body)
		}
		wantNone(t, "it reports before it is a member", c.updates)
		x.answerRegister(tailcfg.RegisterResponse{MachineAuthorized: true, Login: tailcfg.Login{LoginName: "alice"}})
		if ev := want(t, "it says so", s.Events()); ev.Registered == nil || ev.Registered.Login.LoginName != "alice" {
			t.Fatalf("not registered: %+v", ev)
		}

		u := want(t, "it reports its state", c.updates)
		x = want(t, "it follows the map, not waiting for that", c.streams)
		for _, r := range []tailcfg.MapRequest{u.mapping, x.mapping} {
			if r.NodeKey != testNode || r.DiscoKey != testDisco || r.Hostinfo.Hostname != "one" ||
				!reflect.DeepEqual(r.Endpoints, endpoints) || len(r.EndpointTypes) != 1 || r.Compress != "" {
				t.Errorf("a map request with %+v", r)
			}
		}
		u.answer(http.StatusOK, nil)

		x.send(&tailcfg.MapResponse{KeepAlive: true})
		x.send(&tailcfg.MapResponse{Node: &tailcfg.Node{ID: 7}, Domain: "example"})
		if ev := want(t, "the map arrives", s.Events()); ev.Map.Node.ID != 7 || !ev.First {
			t.Errorf("first frame: %+v", ev)
		}
		x.send(&tailcfg.MapResponse{KeepAlive: true})
		x.send(&tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{3}})
		if ev := want(t, "a change arrives", s.Events()); len(ev.Map.PeersRemoved) != 1 || ev.First {
			t.Errorf("second frame: %+v", ev)
		}
		now := time.Now()
		x.send(&tailcfg.MapResponse{KeepAlive: true, ControlTime: &now})
		if ev := want(t, "the time arrives", s.Events()); ev.Map.ControlTime == nil || ev.First {
			t.Errorf("keep-alive with the time: %+v", ev)
		}
		if n := c.dialled(); n != 1 {
			t.Errorf("%d connections, want one for everything", n)
		}
	}, func(cfg *SessionConfig) {
		cfg.OldNodeKey, cfg.Ephemeral = old, true
		cfg.State.Endpoints, cfg.State.EndpointTypes = endpoints, []tailcfg.EndpointType{tailcfg.EndpointLocal}
	})
}

func TestPersonMustSignIn(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		want(t, "it registers", c.registers).answerRegister(tailcfg.RegisterResponse{AuthURL: "https://a"})
		if ev := want(t, "it shows the URL", s.Events()); ev.AuthURL != "https://a" {
			t.Fatalf("no URL: %+v", ev)
		}
		x := want(t, "it waits for the visit", c.registers)
		if x.register.Followup != "https://a" || x.register.NodeKey != testNode {
			t.Errorf("waits with %s", x.body)
		}
		time.Sleep(time.Hour) // of which the client's pings take care

		c.cut()
		wantErr(t, "it notices that the connection broke", s, "registering")
		x = want(t, "it goes on waiting", c.registers)
		if x.register.Followup != "https://a" {
			t.Errorf("waits with %s", x.body)
		}
		x.answerRegister(tailcfg.RegisterResponse{AuthURL: "https://a"})
		x = want(t, "the same URL again is no news", c.registers)
		if x.register.Followup != "https://a" {
			t.Errorf("waits with %s", x.body)
		}
		x.answerRegister(tailcfg.RegisterResponse{AuthURL: "https://b"})
		if ev := want(t, "it shows the new URL", s.Events()); ev.AuthURL != "https://b" {
			t.Fatalf("no URL: %+v", ev)
		}
		x = want(t, "it waits for the new visit", c.registers)
		if x.register.Followup != "https://b" {
			t.Errorf("waits with %s", x.body)
		}
		x.answer(http.StatusNotFound, "what URL?")
		wantErr(t, "the URL is not known any more", s, "what URL?")
		x = want(t, "it begins anew", c.registers)
		if x.register.Followup != "" {
			t.Errorf("begins anew with %s", x.body)
		}
		x.answerRegister(tailcfg.RegisterResponse{})
		if ev := want(t, "it is in", s.Events()); ev.Registered == nil {
			t.Errorf("not registered: %+v", ev)
		}
	})
}

func TestAnswersThatEndASession(t *testing.T) {
	refused := func(reason string) func(error) bool {
		return func(err error) bool {
			r, ok := errors.AsType[*RefusedError](err)
			return ok && r.Reason == reason
		}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for _, tt := range []struct {
		name   string
		status int
		answer any
		want   func(error) bool
	}{
		{"error", 200, tailcfg.RegisterResponse{Error: "no such key", AuthURL: "x"}, refused("no such key")},
		{"error with the auth key in it", 200, tailcfg.RegisterResponse{Error: "what is " + testAuthKey}, refused("what is [auth key]")},
		{"status with the auth key in it", 401, "what is " + testAuthKey, refused("what is [auth key]")},
		{"status", 403, nil, refused("403 Forbidden")},
		{"expired", 200, tailcfg.RegisterResponse{NodeKeyExpired: true}, is(ErrNodeKeyExpired)},
		{"locked", 200, tailcfg.RegisterResponse{NodeKeySignature: []byte{1}, NodeKeyExpired: true}, is(ErrTailnetLock)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, func(t *testing.T, c *coordinator, s *Session) {
				want(t, "it registers", c.registers).answer(tt.status, tt.answer)
				ev := want(t, "it says why", s.Events())
				if !tt.want(ev.Err) {
					t.Errorf("%+v", ev)
				}
				wantEnd(t, s)
			})
		})
	}
}

func TestTroubleWithRegistering(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := want(t, "it registers", c.registers)
		x.then(func(w http.ResponseWriter) { w.Header().Set("Retry-After", "77") })
		x.answer(http.StatusTooManyRequests, "slow down")
		wantErr(t, "it is told to wait", s, "slow down")
		began := time.Now()
		x = want(t, "it tries again", c.registers)
		if d := time.Since(began); d != 77*time.Second {
			t.Errorf("it waits for %v, want 77s", d)
		}
		x.answer(http.StatusInternalServerError, "oops")
		wantErr(t, "the coordinator fails", s, "oops")

		want(t, "it tries again", c.registers).answer(http.StatusOK, "no JSON")
		wantErr(t, "the coordinator talks nonsense", s, "reading the answer")

		want(t, "it tries again, but gets no answer", c.registers)
		wantErr(t, "it gives up on that", s, context.DeadlineExceeded.Error())

		want(t, "it tries again", c.registers)
		c.cut()
		wantErr(t, "the connection breaks", s, "registering")

		joined(t, c, s)
	})
}

func TestStreamThatBreaks(t *testing.T) {
	frame := func(text string) []byte {
		return append([]byte{byte(len(text)), 0, 0, 0}, text...)
	}
	for _, tt := range []struct {
		name string
		do   func(c *coordinator, x *exchange)
		want string
	}{
		{"ended", func(c *coordinator, x *exchange) { x.end() }, "EOF"},
		{"connection cut", func(c *coordinator, x *exchange) { c.cut() }, "following the network map"},
		{"no JSON", func(c *coordinator, x *exchange) { x.sendRaw(frame("{")) }, "not a map response"},
		{"empty frame", func(c *coordinator, x *exchange) { x.sendRaw(frame("")) }, "frame of 0 bytes"},
		{"oversized frame", func(c *coordinator, x *exchange) { x.sendRaw([]byte{1, 0, 0, 4}) }, "frame of 67108865 bytes"},
		{"half a frame", func(c *coordinator, x *exchange) { x.sendRaw([]byte{9, 0, 0, 0, 1}); x.end() }, "unexpected EOF"},
		{"silence", func(c *coordinator, x *exchange) {}, "nothing came for 2m0s"},
		{"silence within a frame", func(c *coordinator, x *exchange) { x.sendRaw([]byte{9, 0, 0, 0, 1}) }, "nothing came for 2m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, func(t *testing.T, c *coordinator, s *Session) {
				x := joined(t, c, s)
				tt.do(c, x)
				wantErr(t, "it notices", s, tt.want)
				want(t, "it reports its state again", c.updates).answer(http.StatusOK, nil)
				x = want(t, "it begins a new stream", c.streams)
				x.send(&tailcfg.MapResponse{Domain: "example"})
				wantErr(t, "which does not begin as it should", s, "does not name our node")
				want(t, "it reports its state again", c.updates).answer(http.StatusOK, nil)
				x = want(t, "it begins a new stream", c.streams)
				x.send(&tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1}})
				if ev := want(t, "the map arrives", s.Events()); !ev.First {
					t.Errorf("%+v, want the first of a stream", ev)
				}
			})
		})
	}
}

func TestKeepAlivesKeepTheStream(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := joined(t, c, s)
		for range 30 {
			time.Sleep(time.Minute)
			x.send(&tailcfg.MapResponse{KeepAlive: true})
		}
		time.Sleep(time.Minute)
		wantNone(t, "an event", s.Events())
		if n := c.dialled(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

func TestSlowParentIsNoSilence(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := joined(t, c, s)
		x.send(&tailcfg.MapResponse{Domain: "a"})
		x.send(&tailcfg.MapResponse{Domain: "b"})
		time.Sleep(time.Hour)
		for _, domain := range []string{"a", "b"} {
			if ev := want(t, "the map arrives", s.Events()); ev.Map == nil || ev.Map.Domain != domain {
				t.Errorf("%+v, want the map with %s", ev, domain)
			}
		}
	})
}

func TestCoordinatorForgetsTheNode(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := joined(t, c, s)
		x.end()
		wantErr(t, "the stream ends", s, "EOF")
		want(t, "it reports its state", c.updates).answer(http.StatusOK, nil)
		want(t, "it begins a new stream", c.streams).answer(http.StatusNotFound, "node not found")
		wantErr(t, "it is not known", s, "node not found")
		joined(t, c, s)
	})
}

func TestReports(t *testing.T) {
	state := func(name string) State {
		return State{Disco: testDisco, Hostinfo: tailcfg.Hostinfo{Hostname: name, NetInfo: &tailcfg.NetInfo{PreferredDERP: 1}}}
	}
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		joined(t, c, s)

		s.SetState(state("two"))
		x := want(t, "the change is reported", c.updates)
		if x.mapping.Hostinfo.Hostname != "two" {
			t.Errorf("reports %s", x.body)
		}
		s.SetState(state("three"))
		s.SetState(state("four"))
		wantNone(t, "a report overtakes another", c.updates)
		x.answer(http.StatusOK, strings.Repeat("a whole map", 1000))
		x = want(t, "the latest is reported", c.updates)
		if x.mapping.Hostinfo.Hostname != "four" {
			t.Errorf("reports %s", x.body)
		}
		x.answer(http.StatusInternalServerError, nil)
		want(t, "it is reported again", c.updates)
		s.SetState(state("five"))
		c.cut()
		wantErr(t, "the stream breaks as well", s, "following")
		x = want(t, "the latest is reported", c.updates)
		if x.mapping.Hostinfo.Hostname != "five" {
			t.Errorf("reports %s", x.body)
		}
		x.answer(http.StatusOK, nil)
		want(t, "it begins a new stream", c.streams).send(&tailcfg.MapResponse{Node: &tailcfg.Node{ID: 1}})
		want(t, "the map arrives", s.Events())

		s.SetState(state("five"))
		wantNone(t, "what has not changed is reported", c.updates)
		if n := c.dialled(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

func TestLogout(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		joined(t, c, s)
		ended := make(chan error)
		go func() { ended <- s.Logout(t.Context()) }()
		x := want(t, "it logs out", c.registers)
		if r := x.register; r.NodeKey != testNode || r.Expiry.IsZero() || r.Expiry.After(time.Now()) || r.Auth != nil {
			t.Errorf("logs out with %s", x.body)
		}
		wantEnd(t, s)
		x.answerRegister(tailcfg.RegisterResponse{NodeKeyExpired: true})
		if err := <-ended; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		wantNone(t, "it registers again", c.registers)
	})
}

func TestLogoutFails(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		joined(t, c, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Logout(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Logout at a coordinator that does not answer: %v", err)
		}
		ended := make(chan error)
		go func() { ended <- s.Logout(t.Context()) }()
		want(t, "it logs out", c.registers)
		s.Close()
		if err := <-ended; err == nil {
			t.Error("Logout works although Close came before the answer")
		}
		if err := s.Logout(t.Context()); err == nil {
			t.Error("Logout works after Close")
		}
	})
}

// TestClose closes a session in every state that it can be in. It must not take
// any time.
func TestClose(t *testing.T) {
	silent := func(ctx context.Context, network, addr string) (net.Conn, error) {
		near, far := net.Pipe() // nobody reads from far
		context.AfterFunc(ctx, func() { far.Close() })
		return near, nil
	}
	for _, tt := range []struct {
		state  string
		deaf   bool
		option func(*SessionConfig)
		reach  func(t *testing.T, c *coordinator, s *Session)
	}{
		{state: "at once"},
		{state: "dialling", option: func(cfg *SessionConfig) {
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		{state: "asking for the upgrade", option: func(cfg *SessionConfig) { cfg.Dial = silent }},
		{state: "starting TLS", option: func(cfg *SessionConfig) { cfg.URL, cfg.Dial = "https://x", silent }},
		{state: "starting HTTP/2", deaf: true},
		{state: "registering", reach: func(t *testing.T, c *coordinator, s *Session) {
			want(t, "it registers", c.registers)
		}},
		{state: "registered, and nobody listens", reach: func(t *testing.T, c *coordinator, s *Session) {
			want(t, "it registers", c.registers).answerRegister(tailcfg.RegisterResponse{})
		}},
		{state: "waiting for a person", reach: func(t *testing.T, c *coordinator, s *Session) {
			want(t, "it registers", c.registers).answerRegister(tailcfg.RegisterResponse{AuthURL: "a"})
			want(t, "it shows the URL", s.Events())
			want(t, "it waits for the visit", c.registers)
		}},
		{state: "waiting to try again", reach: func(t *testing.T, c *coordinator, s *Session) {
			want(t, "it registers", c.registers).answer(500, nil)
			want(t, "it fails", s.Events())
		}},
		{state: "streaming", reach: func(t *testing.T, c *coordinator, s *Session) { joined(t, c, s) }},
		{state: "streaming, and nobody listens", reach: func(t *testing.T, c *coordinator, s *Session) {
			joined(t, c, s).send(&tailcfg.MapResponse{Domain: "a"})
		}},
		{state: "reporting", reach: func(t *testing.T, c *coordinator, s *Session) {
			joined(t, c, s)
			s.SetState(State{})
			want(t, "it reports", c.updates)
		}},
		{state: "over", reach: func(t *testing.T, c *coordinator, s *Session) {
			want(t, "it registers", c.registers).answer(403, nil)
			want(t, "it is refused", s.Events())
		}},
	} {
		t.Run(tt.state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCoordinator(t)
				c.deaf = tt.deaf
				cfg := c.sessionConfig()
				if tt.option != nil {
					tt.option(&cfg)
				}
				s := Start(cfg)
				if tt.reach != nil {
					tt.reach(t, c, s)
				}
				if tt.state != "at once" {
					synctest.Wait()
				}
				began := time.Now()
				closed := make(chan error, 2)
				for range 2 {
					go func() { closed <- s.Close() }()
				}
				for range 2 {
					if err := <-closed; err != nil {
						t.Error(err)
					}
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("Close takes %v", d)
				}
				if ev, ok := <-s.Events(); ok {
					t.Errorf("an event after Close: %+v", ev)
				}
				s.SetState(State{})
			})
		})
	}
}

func TestServerWithAnotherKey(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		wantErr(t, "it notices", s, "does not authenticate")
		wantErr(t, "it tries again", s, "does not authenticate")
	}, func(cfg *SessionConfig) { cfg.ServerKey = key.NewMachine().Public() })
}

// TestWordsOutsideNoiseEndNothing is about what a proxy says, or anybody else
// on the way.
func TestWordsOutsideNoiseEndNothing(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		wantErr(t, "it is told off", s, "403 Forbidden")
		wantErr(t, "it tries again", s, "403 Forbidden")
	}, func(cfg *SessionConfig) { cfg.Dial = say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") })
}

func TestBadConfig(t *testing.T) {
	for _, url := range []string{"", "example.com", "ftp://example.com", "https://", "https://%"} {
		scenario(t, func(t *testing.T, c *coordinator, s *Session) {
			wantErr(t, "it says what is wrong", s, "the coordinator's URL")
		}, func(cfg *SessionConfig) { cfg.URL = url })
	}
}

func TestEarlyPayloadIsSkipped(t *testing.T) {
	challenge := `{"nodeKeyChallenge":"chalpub:00"}`
	for _, early := range []string{
		earlyMagic + "\x00\x00\x00" + string(rune(len(challenge))) + challenge,
		earlyMagic + "\x00\x00\x00\x00",
	} {
		t.Run(fmt.Sprint(len(early)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCoordinator(t)
				c.early = []byte(early)
				s := Start(c.sessionConfig())
				defer s.Close()
				joined(t, c, s)
			})
		})
	}
}
