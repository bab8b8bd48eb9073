package coord

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// answerAsks reads the stream and answers what the node is asked for with how,
// and passes on what was asked.
func (m *machine) answerAsks(s *testStream, how func(*tailcfg.PingRequest) *tailcfg.PingResponse) {
	go func() {
		for {
			frame, err := s.read()
			if err != nil {
				return
			}
			p := frame.PingRequest
			if p == nil {
				continue
			}
			if !frame.KeepAlive || !p.URLIsNoise {
				m.t.Errorf("asked by %+v", frame)
			}
			if resp := how(p); resp != nil {
				u, _ := url.Parse(p.URL)
				m.post(m.t.Context(), u.RequestURI(), resp)
			}
		}
	}()
}

func direct(*tailcfg.PingRequest) *tailcfg.PingResponse {
	return &tailcfg.PingResponse{Type: "disco", LatencySeconds: 0.02, Endpoint: "192.0.2.1:41641"}
}

func relayed(*tailcfg.PingRequest) *tailcfg.PingResponse {
	return &tailcfg.PingResponse{Type: "disco", LatencySeconds: 0.09, DERPRegionID: 1}
}

func TestPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		var pings atomic.Int32
		hows := []func(*tailcfg.PingRequest) *tailcfg.PingResponse{
			direct,
			func(p *tailcfg.PingRequest) *tailcfg.PingResponse {
				if p.IP == netip.MustParseAddr("100.64.0.3") {
					return relayed(p)
				}
				return direct(p)
			},
			relayed,
			func(*tailcfg.PingRequest) *tailcfg.PingResponse { pings.Add(1); return nil }, // does not know how
		}
		for _, how := range hows {
			m := ts.machine()
			m.join("n", authKey)
			s := m.stream("zstd")
			s.frame("the first frame")
			m.answerAsks(s, how)
		}
		offline := ts.machine()
		offline.join("offline", authKey)

		start := time.Now()
		paths, err := ts.Paths(t.Context())
		if err != nil || len(paths) != 6 {
			t.Fatalf("%d paths, %v", len(paths), err)
		}
		if took := time.Since(start); took > 2*surveyPatience {
			t.Errorf("it takes %v", took)
		}
		for _, p := range paths {
			between, want := pairOf(tailcfg.NodeID(p.From), tailcfg.NodeID(p.To)), PathDirect
			switch {
			case between.b == 4 && p.From == 4:
				want = PathSilent
			case p.From == 3, between == pair{2, 3}:
				want = PathRelayed
			}
			if p.State != want || p.Measured.IsZero() || (p.Latency > 0) != (want != PathSilent) ||
				p.Direct.IsValid() != (want == PathDirect) || (p.Relay == 1) != (want == PathRelayed) {
				t.Errorf("want %s: %+v", want, p)
			}
			if p.FromName == "" || p.ToName == "" || p.FromName == p.ToName {
				t.Errorf("the names are %q and %q", p.FromName, p.ToName)
			}
		}
		some, err := ts.Paths(t.Context(), 2)
		if err != nil || len(some) != 3 {
			t.Errorf("the paths of one node are %+v, %v", some, err)
		}
		if none, err := ts.Paths(t.Context(), 5, 99); err != nil || len(none) != 0 {
			t.Errorf("the paths of nodes that are not there: %+v, %v", none, err)
		}
		time.Sleep(time.Minute)
		before := pings.Load()
		time.Sleep(time.Hour)
		if got := pings.Load(); got != before {
			t.Errorf("%d pings though nobody wants to know", got-before)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if paths, err := ts.Paths(ctx, 4); !errors.Is(err, context.DeadlineExceeded) || len(paths) != 3 {
			t.Errorf("in too little time: %+v, %v", paths, err)
		}
		ended := make(chan error)
		go func() {
			_, err := ts.Paths(context.Background(), 4)
			ended <- err
		}()
		synctest.Wait()
		go ts.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("when the coordinator is closed: %v", err)
		}
	})
}

// TestPathsOfTwoCoordinators asks one, where only one of three nodes is.
func TestPathsOfTwoCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		one, two := serve(t, Config{Store: store}), serve(t, Config{Store: store})
		authKey := one.reusable(AuthKeyOptions{})
		synctest.Wait()
		for _, ts := range []*testServer{one, two, two} {
			m := ts.machine()
			m.join("n", authKey)
			s := m.stream("")
			s.frame("the first frame")
			m.answerAsks(s, direct)
		}
		synctest.Wait()
		paths, err := one.Paths(t.Context())
		if err != nil || len(paths) != 3 {
			t.Fatalf("%+v, %v", paths, err)
		}
		for _, p := range paths {
			want := PathDirect
			if p.From > 1 && p.To > 1 {
				want = PathUnknown
			}
			if p.State != want || (p.Err != "") != (want == PathUnknown) {
				t.Errorf("want %s: %+v", want, p)
			}
		}
	})
}

// TestPathEndpoint has machines tell what they were not asked for.
func TestPathEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		a, b := ts.machine(), ts.machine()
		a.join("a", authKey)
		b.join("b", authKey)
		for _, c := range []struct {
			path string
			body any
			want int
		}{
			{"/machine/path?node=1&ping=x", direct(nil), 200},
			{"/machine/path?node=2&ping=x", direct(nil), 404}, // another's
			{"/machine/path?node=9&ping=x", direct(nil), 404},
			{"/machine/path", direct(nil), 404},
			{"/machine/path?node=1&ping=x", []byte("nonsense"), 400},
			{"/machine/path?node=1&ping=x", make([]byte, 1<<20), 400},
		} {
			if code, text := a.status(c.path, c.body); code != c.want {
				t.Errorf("%s: %d %s, want %d", c.path, code, text, c.want)
			}
		}
	})
}
