package meshnet

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A namespace is a host of its own to programs: a network namespace of the
// kernel's, which lives as long as the thread or process that is in it.
type namespace struct {
	t  *testing.T
	do chan func() // to the thread; nil when it is the whole process
}

// newNamespace needs root, and skips the test without.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	ns := &namespace{t: t, do: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- syscall.Unshare(syscall.CLONE_NEWNET)
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

// childOf is the environment variable that tells a process which test it is for.
const childOf = "MESHNET_TEST_NAMESPACE"

// ownNamespace runs the test in a process that has a namespace of its own for all
// of its threads, and returns it there. In the process of the tests it returns
// nil, when that is over. It is for what opens sockets in goroutines.
func ownNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Getenv(childOf) == t.Name() {
		ns := &namespace{t: t}
		ns.must("ip link set lo up")
		return ns
	}
	cmd := exec.CommandContext(testCtx(t), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childOf+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("no network namespaces here: %v", err)
	}
	if err != nil {
		t.Errorf("in a namespace of its own: %v\n%s", err, out)
	}
	return nil
}

// run has a function run in the namespace: sockets that it opens and programs
// that it starts stay there. Its goroutines do not.
func (ns *namespace) run(f func()) {
	if ns.do == nil { // this whole process is there
		f()
		return
	}
	done := make(chan struct{})
	ns.do <- func() {
		defer close(done)
		f()
	}
	<-done
}

// shell runs commands in the namespace and returns what they say.
func (ns *namespace) shell(script string) (out string, err error) {
	ns.run(func() {
		var text []byte
		text, err = exec.CommandContext(testCtx(ns.t), "sh", "-ec", script).CombinedOutput()
		out = string(text)
	})
	return out, err
}

func (ns *namespace) must(script string) string {
	ns.t.Helper()
	out, err := ns.shell(script)
	if err != nil {
		ns.t.Fatalf("%s: %v\n%s", strings.TrimSpace(script), err, out)
	}
	return out
}

// needs skips the test when a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not here", p)
		}
	}
}
