package meshnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

func TestDialByEveryNameAndAddress(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) {
		c.DNS.Records = []coord.Record{{Name: "db.example.com", Addr: netip.MustParseAddr("100.64.0.2")}}
	})
	a, b := m.up("a"), m.up("b")
	b4, b6 := b.IPs()
	if b4 != netip.MustParseAddr("100.64.0.2") {
		t.Fatalf("b has the address %v", b4)
	}
	for _, network := range []string{"tcp", "udp"} {
		echo(t, b, network)
		for _, tt := range []struct{ network, host string }{
			{network, "b"},
			{network, "B"},
			{network, "b.mesh.internal"},
			{network, "b.mesh.internal."},
			{network, "db.example.com"},
			{network, b4.String()},
			{network, "[" + b6.String() + "]"},
			{network + "4", "b"},
			{network + "6", "b"},
		} {
			conn, err := a.Dial(testCtx(t), tt.network, tt.host+":7")
			if err != nil {
				t.Errorf("%s %s: %v", tt.network, tt.host, err)
				continue
			}
			remote := netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr()
			if want6 := strings.HasSuffix(tt.network, "6") || strings.HasPrefix(tt.host, "["); remote.Is6() != want6 {
				t.Errorf("%s %s: connected to %v", tt.network, tt.host, remote)
			}
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Errorf("%s %s: %v", tt.network, tt.host, err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
				t.Errorf("%s %s: the echo is %q, %v", tt.network, tt.host, got, err)
			}
			conn.Close()
		}
	}
}

func TestDialErrors(t *testing.T) {
	m := newMesh(t, nil)
	a := m.up("a")
	m.up("b")
	for _, tt := range []struct {
		why, network, address string
		check                 func(error) bool
	}{
		{"a name the mesh does not know", "tcp", "example.com:80", isNotFound},
		{"a name the host knows", "tcp", "localhost:80", isNotFound},
		{"no name", "tcp", ":80", isNotFound},
		{"an address of the host", "tcp", "127.0.0.1:80", is(syscall.ENETUNREACH)},
		{"an address of nobody", "udp", "100.64.9.9:80", is(syscall.ENETUNREACH)},
		{"a port where nobody listens", "tcp", "b:81", is(syscall.ECONNREFUSED)},
		{"a network that is none", "ip", "b:80", func(err error) bool {
			var unknown net.UnknownNetworkError
			return errors.As(err, &unknown)
		}},
		{"no port", "tcp", "b", anyError},
		{"a port out of range", "tcp", "b:65536", anyError},
		{"an address of the other IP version", "tcp6", "100.64.0.2:80", anyError},
		{"an address with a zone", "tcp", "[fe80::1%eth0]:80", is(syscall.ENETUNREACH)},
	} {
		conn, err := a.Dial(testCtx(t), tt.network, tt.address)
		op, ok := err.(*net.OpError) // itself, not wrapped
		if !ok || op.Op != "dial" || op.Net != tt.network || !tt.check(err) {
			t.Errorf("%s: %#v", tt.why, err)
		}
		if known := errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ECONNREFUSED); known && op.Addr == nil {
			t.Errorf("%s: the error does not tell the address: %v", tt.why, err)
		}
		if conn != nil { // nor a nil pointer in it
			t.Errorf("%s: a connection comes with the error", tt.why)
		}
	}
}

// A packet filter drops what it does not allow, but who dials is told.
func TestDialRefusedByPolicy(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) {
		c.Policy = []byte(`{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:7"]}]}`)
	})
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	for _, network := range []string{"tcp4", "tcp6"} {
		conn, err := a.Dial(testCtx(t), network, "b:7")
		if err != nil {
			t.Fatalf("%s: what is allowed: %v", network, err)
		}
		conn.Close()
		var op *net.OpError
		if _, err := a.Dial(testCtx(t), network, "b:8"); !errors.As(err, &op) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: what is not: %v", network, err)
		}
	}
}

func anyError(error) bool { return true }

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// TestDialEndsWithItsContext dials a node that has gone.
func TestDialEndsWithItsContext(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	b4, _ := b.IPs()
	b.Close()
	dial := func(ctx context.Context, timeout bool) {
		t.Helper()
		conn, err := a.Dial(ctx, "tcp", netip.AddrPortFrom(b4, 80).String())
		op, ok := err.(*net.OpError)
		if !ok || !errors.Is(err, ctx.Err()) || op.Timeout() != timeout || op.Addr == nil || conn != nil {
			t.Errorf("Dial: %v, %#v", conn, err)
		}
	}
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	dial(late, true)

	cancelled, cancel := context.WithCancel(t.Context())
	before := a.running().tun.Counters().PacketsOut
	go func() {
		defer cancel()
		until(t, "Dial sends nothing", func() bool { return a.running().tun.Counters().PacketsOut > before })
	}()
	dial(cancelled, false)
}

func TestNodeDialsItself(t *testing.T) {
	s := newMesh(t, nil).up("node")
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	dialled, accepted := pair(t, s, ln, "node:80")
	dialled.Close()
	accepted.Close()
}

// TestFailuresAreNilInterfaces: a nil pointer in an interface is not nil, and its
// methods panic.
func TestFailuresAreNilInterfaces(t *testing.T) {
	s := newMesh(t, nil).up("node")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantNil := func(call string, got any, err error) {
		t.Helper()
		if got != nil || err == nil {
			t.Errorf("%s: %#v, %v", call, got, err)
		}
	}
	for _, when := range []string{"running", "closed"} {
		for _, network := range []string{"tcp", "udp", "sctp"} {
			conn, err := s.Dial(ctx, network, "100.64.0.99:7")
			wantNil(when+": Dial "+network, conn, err)
		}
		ln, err := s.Listen("tcp", "192.0.2.1:7")
		wantNil(when+": Listen", ln, err)
		packets, err := s.ListenPacket("udp", "192.0.2.1:7")
		wantNil(when+": ListenPacket", packets, err)
		s.Close()
	}
}
