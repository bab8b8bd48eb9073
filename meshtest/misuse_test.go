package meshtest_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/meshtest"
)

// A failingT is a test that may fail.
type failingT struct {
	exampleT
	failure string
	mu      sync.Mutex
	output  bytes.Buffer
}

func (t *failingT) Fatalf(format string, args ...any) {
	t.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (t *failingT) Output() io.Writer { return t }

func (t *failingT) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.output.Write(p)
}

// run runs a test to its end.
func (t *failingT) run(test func(t testing.TB)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		test(t)
	}()
	<-done
}

func TestWhatCannotBeIsSaid(t *testing.T) {
	for want, test := range map[string]func(t testing.TB){
		"0 regions": func(t testing.TB) { meshtest.New(t, meshtest.Regions(0)) },
		`no region "mars"`: func(t testing.TB) {
			meshtest.New(t).Node("a", meshtest.Near("mars"))
		},
		"no Kind(99)": func(t testing.TB) { meshtest.New(t).Network(99) },
		"not of this mesh": func(t testing.TB) {
			meshtest.New(t).Cut(&meshnet.Server{Hostname: "a"})
		},
		"on the open internet": func(t testing.TB) {
			meshtest.New(t).Network(meshtest.OpenInternet).BlockUDP(true)
		},
		"setting the policy": func(t testing.TB) { meshtest.New(t).SetPolicy("{") },
		"making the coordinator": func(t testing.TB) {
			meshtest.New(t, meshtest.Policy("{"))
		},
		"making an auth key": func(t testing.TB) { meshtest.New(t).Node("a", meshtest.Tags("web")) },
		"making the user":    func(t testing.TB) { meshtest.New(t).Node("a", meshtest.User("two words")) },
		`"b" is not up`: func(t testing.TB) {
			mesh := meshtest.New(t)
			mesh.WaitDirect(mesh.Node("a"), mesh.Node("b", meshtest.NotStarted()))
		},
		`"a" does not come up`: func(t testing.TB) {
			meshtest.New(t).Node("a", meshtest.Configure(func(s *meshnet.Server) { s.AuthKey = "none" }))
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var failing failingT
			failing.run(test)
			if !strings.Contains(failing.failure, want) {
				t.Errorf("the test failed with %q, want something with %q", failing.failure, want)
			}
		})
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var logging failingT
	logging.run(func(t testing.TB) { meshtest.New(t, meshtest.Log(slog.LevelInfo)).Node("a") })
	text := logging.output.String()
	for _, want := range []string{"at=a", "at=coordinator"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has nothing %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "level=DEBUG") {
		t.Errorf("the log has lines below the level:\n%s", text)
	}
}
