package netmon

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// inNamespace marks the process that is in a network namespace of its own.
const inNamespace = "NETMON_TEST_NAMESPACE"

// TestNamespace changes a network of its own, and sees the changes by the
// netlink socket alone. It runs itself again in a new namespace.
func TestNamespace(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		changeNetwork(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of iproute2")
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNamespace$", "-test.v", "-test.timeout=30s")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := again.CombinedOutput()
	if again.Process == nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func changeNetwork(t *testing.T) {
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	m := start(Config{}, time.Hour, time.Now)
	defer m.Close()
	// wait returns when the state is one that was awaited; if it never is, the
	// test runs into its timeout.
	wait := func(what string, is func(State) bool) {
		t.Helper()
		for !is(m.State()) {
			select {
			case <-m.Changed():
			case <-t.Context().Done():
				t.Fatal(what)
			}
		}
	}
	has := func(addr string) func(State) bool {
		return func(s State) bool { return slices.Contains(s.Addrs, netip.MustParsePrefix(addr)) }
	}
	if len(m.State().Addrs) > 0 {
		t.Errorf("a new namespace has no network that is up: %+v", m.State())
	}
	ip("link", "set", "lo", "up")
	wait("loopback, when there is nothing else", has("127.0.0.1/8"))
	ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
	ip("link", "set", "v1", "up")
	ip("addr", "add", "192.0.2.7/24", "dev", "v0")
	ip("link", "set", "v0", "up")
	wait("an address was added", has("192.0.2.7/24"))
	if has("127.0.0.1/8")(m.State()) {
		t.Error("loopback stays beside another address")
	}
	ip("addr", "add", "198.51.100.7/24", "dev", "v0")
	ip("route", "add", "default", "via", "198.51.100.1")
	gateway := netip.MustParseAddr("198.51.100.1")
	wait("there is a default route", func(s State) bool { return s.Gateway == gateway && len(s.Default) == 1 })
	if s := m.State(); s.Addrs[0].Addr() != netip.MustParseAddr("198.51.100.7") || s.Default[0] != s.Addrs[0].Addr() {
		t.Errorf("the address of the default route comes first: %+v", s)
	}
	ip("link", "set", "v0", "down")
	wait("the link is down", has("127.0.0.1/8"))
}
