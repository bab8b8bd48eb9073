package interop

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

var showLogs = flag.Bool("logs", false, "print what the nodes and coordinators log")

// nodeLog keeps what a node logs until the test fails, and prints it then.
type nodeLog struct {
	mu    sync.Mutex
	name  string
	start time.Time
	lines bytes.Buffer
	over  bool
}

func newLog(t *testing.T, name string) *nodeLog {
	l := &nodeLog{name: name, start: time.Now()}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.over = true
		if t.Failed() || *showLogs {
			t.Logf("log of %s:\n%s", name, l.lines.String())
		}
	})
	return l
}

func (l *nodeLog) Write(p []byte) (int, error) {
	l.printf("%s", p)
	return len(p), nil
}

// slog returns a logger that writes into l.
func (l *nodeLog) slog() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // printf writes one
			}
			return a
		},
	}))
}

func (l *nodeLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 4 << 20 // of a node that logs in circles
	if l.over || l.lines.Len() > enough {
		return
	}
	line := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	fmt.Fprintf(&l.lines, "%6.3f %s\n", time.Since(l.start).Seconds(), line)
}
