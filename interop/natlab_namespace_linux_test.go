package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// namespace is a network namespace of the kernel's. It has no name, and is gone
// when the last of its thread, the sockets made in it and the processes started
// in it is: nothing of it outlives the test, however that ends.
type namespace struct {
	path string // by which ip knows it
	do   chan func()
}

// newNamespace makes a namespace in which loopback is up, or skips the test
// where that is impossible.
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
	// IPv6 addresses are usable at once, without looking for duplicates.
	ns.set(t, "ipv6/conf/all/accept_dad", "0")
	ns.set(t, "ipv6/conf/default/accept_dad", "0")
	ns.feed(t, "link set lo up\n", "ip", "-batch", "-")
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

// set sets one of the namespace's variables below /proc/sys/net.
func (ns *namespace) set(t *testing.T, name, value string) {
	t.Helper()
	var err error
	ns.run(func() { err = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
	check(t, name+" is set", err)
}

// feed runs a program in the namespace that reads commands.
func (ns *namespace) feed(t *testing.T, commands, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(commands)
	var out []byte
	var err error
	ns.run(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v: %s\n%s", program, err, out, commands)
	}
}

// start starts a program in the namespace. It ends when the namespace's thread
// does, which is with the test, however that ends.
func (ns *namespace) start(cmd *exec.Cmd) (err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	ns.run(func() { err = cmd.Start() })
	return err
}

func (ns *namespace) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	ns.run(func() { ln, err = net.Listen("tcp", addr) })
	check(t, "there is a listener at "+addr, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}
