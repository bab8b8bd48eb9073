// Package leak fails a test binary that leaves goroutines behind. Tests only.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests and exits; it fails when goroutines other than the
// testing package's own are still running when all tests have ended.
//
//	func TestMain(m *testing.M) { leak.Main(m) }
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := settle(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left running after the tests:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// settle gives goroutines that are on their way out up to limit to finish, and
// returns the stacks of those that did not.
func settle(limit time.Duration) string {
	deadline := time.Now().Add(limit)
	for {
		left := running()
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// running returns the stacks of all goroutines but our own and those that
// belong to the process rather than to a test.
func running() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && !ofProcess(stack) { // the first is ours
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

func ofProcess(stack string) bool {
	for _, frame := range []string{
		"testing.(*F).Fuzz",
		"internal/fuzz.",
		"os/signal.loop",
		"os/signal.signal_recv",
		"runtime/pprof.",
	} {
		if strings.Contains(stack, frame) {
			return true
		}
	}
	return false
}
