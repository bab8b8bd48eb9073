package interop

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"tailscale.com/envknob"
	"tailscale.com/net/netns"
)

func TestMain(m *testing.M) {
	if os.Getenv(nodeVariable) != "" {
		serveNode()
		return
	}
	flag.Parse()
	keepToLoopback()
	stderr := &theirLog{}
	log.SetOutput(stderr)

	code := m.Run()
	matrix.print(os.Stdout)
	if panics := stderr.panics(); len(panics) > 0 {
		fmt.Printf("FAIL: a handler of testcontrol panicked, so it did not like what it was sent:\n%s\n", panics)
		code = 1
	}
	os.Exit(code)
}

// keepToLoopback turns off what Tailscale's software would say to the world.
func keepToLoopback() {
	envknob.SetNoLogsNoSupport()                 // no log upload
	envknob.Setenv("TS_DISABLE_PORTMAPPER", "1") // no talk with the router
	netns.SetEnabled(false)                      // sockets bound to no interface
}

// theirLog receives what Tailscale's packages print with the log package, and
// shows it only with -logs. testcontrol panics at requests that it does not
// like; those of its panics that net/http recovers from are only seen here.
type theirLog struct {
	mu       sync.Mutex
	panicked bytes.Buffer
}

func (l *theirLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(p, []byte("panic serving")) {
		l.panicked.Write(p)
	}
	if *showLogs {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

func (l *theirLog) panics() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.panicked.String()
}

// table collects the results of the matrix, and of the programs that go through
// proxies, in the order in which they come.
type table struct {
	mu   sync.Mutex
	rows []row
}

// row is one result: on which tailnet, between which nodes, what was tried.
type row struct {
	tailnet, from, to, what string
	err                     error
	note                    string // such as a rate
}

// matrix is printed at the end of the run.
var matrix table

func (m *table) add(r row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, r)
}

func (m *table) print(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows) == 0 {
		return
	}
	columns := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	defer columns.Flush()
	const format = "%s\t%s\t%s\t%s\t%s\t%s\n"
	fmt.Fprintf(columns, format, "TAILNET", "FROM", "TO", "WHAT", "OK", "")
	failed := 0
	for _, r := range m.rows {
		ok, note := "ok", r.note
		if r.err != nil {
			failed++
			ok, note = "FAIL", strings.ReplaceAll(r.err.Error(), "\n", " ")
		}
		fmt.Fprintf(columns, format, r.tailnet, r.from, r.to, r.what, ok, note)
	}
	fmt.Fprintf(columns, "%d of %d are ok\n", len(m.rows)-failed, len(m.rows))
}
