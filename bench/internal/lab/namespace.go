// Package lab builds networks of the kernel's for the bench: namespaces, and the
// wires between them. All of it is gone when the bench is, however that ends.
package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// A Namespace is a network namespace. It has no name, and is gone when the last
// of its thread and the processes started in it is.
type Namespace struct {
	path string // by which ip knows it
	do   chan func()
}

// newNamespace makes a namespace with nothing but loopback. That takes root.
func newNamespace() (*Namespace, error) {
	ns := &Namespace{do: make(chan func())}
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
	if err := <-started; err != nil {
		close(ns.do)
		return nil, fmt.Errorf("making a network namespace, which takes root: %w", err)
	}
	return ns, nil
}

// close lets go of the namespace, and kills what was started in it.
func (ns *Namespace) close() { close(ns.do) }

// run has a function run in the namespace.
func (ns *Namespace) run(f func() error) error {
	done := make(chan error)
	ns.do <- func() { done <- f() }
	return <-done
}

// Start starts a program in the namespace.
func (ns *Namespace) Start(cmd *exec.Cmd) error { return ns.run(cmd.Start) }

// set sets one of the namespace's variables below /proc/sys/net.
func (ns *Namespace) set(name, value string) error {
	return ns.run(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

// ip runs commands of iproute2 in the namespace.
func (ns *Namespace) ip(commands ...string) error {
	return ns.feed(strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
}

// nft runs commands of nftables in the namespace.
func (ns *Namespace) nft(commands ...string) error {
	return ns.feed(strings.Join(commands, "\n")+"\n", "nft", "-f", "-")
}

func (ns *Namespace) feed(commands, program string, args ...string) error {
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/" + program // not in everybody's path
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(commands)
	return ns.run(func() error {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s\n%s", program, err, out, commands)
		}
		return nil
	})
}
