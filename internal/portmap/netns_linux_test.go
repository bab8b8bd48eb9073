package portmap

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// namespace is a network namespace of the kernel's, which lives as long as the
// thread that is in it.
type namespace struct {
	path string // of the namespace, for ip
	do   chan func()
}

// newNamespace needs root.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	ns := &namespace{do: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		ns.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
		started <- err
		for f := range ns.do {
			f()
		}
	}()
	err := <-started
	t.Cleanup(func() { close(ns.do) })
	if err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	return ns
}

// run has a function run in the namespace: sockets that it opens and programs
// that it starts stay there.
func (ns *namespace) run(f func()) {
	done := make(chan struct{})
	ns.do <- func() {
		defer close(done)
		f()
	}
	<-done
}

// shell runs commands in the namespace.
func (ns *namespace) shell(t *testing.T, script string) {
	t.Helper()
	var out []byte
	var err error
	ns.run(func() { out, err = exec.Command("sh", "-ec", script).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.TrimSpace(script), err, out)
	}
}
