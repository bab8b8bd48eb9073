package meshnet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/meshnet-go/meshnet/coord"
)

// pair returns both ends of a connection from a to b.
func pair(t *testing.T, a *Server, ln net.Listener, address string) (dialled, accepted net.Conn) {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		results <- result{conn, err}
	}()
	dialled, err := a.Dial(testCtx(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := <-results
	if r.err != nil {
		t.Fatal(r.err)
	}
	return dialled, r.conn
}

func TestConnIsAnOrdinaryConn(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = pair(t, a, ln, "b:80")
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestDialByEveryNameAndAddress(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) {
		c.ExtraRecords = []coord.Record{{Name: "db.example.com", Addr: netip.MustParseAddr("100.64.0.2")}}
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

// echo answers everything on port 7 of s with itself until s is closed.
func echo(t *testing.T, s *Server, network string) {
	t.Helper()
	if network == "udp" {
		pc, err := s.ListenPacket("udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 2000)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo(buf[:n], from)
			}
		}()
		return
	}
	ln, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
}

func TestDialErrors(t *testing.T) {
	m := newMesh(t, nil)
	a := m.up("a")
	m.up("b")
	for _, tt := range []struct {
		why, network, address string
		check                 func(error) bool
	}{
		{"a name the mesh does not know", "tcp", "example.com:80", func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns) && dns.IsNotFound
		}},
		{"a name the host knows", "tcp", "localhost:80", func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns) && dns.IsNotFound
		}},
		{"an address of the host", "tcp", "127.0.0.1:80", is(syscall.ENETUNREACH)},
		{"an address of nobody", "udp", "100.64.9.9:80", is(syscall.ENETUNREACH)},
		{"a port where nobody listens", "tcp", "b:81", is(syscall.ECONNREFUSED)},
		{"a network that is none", "ip", "b:80", func(err error) bool {
			var unknown net.UnknownNetworkError
			return errors.As(err, &unknown)
		}},
		{"no port", "tcp", "b", anyError},
		{"a port out of range", "tcp", "b:65536", anyError},
	} {
		conn, err := a.Dial(testCtx(t), tt.network, tt.address)
		var op *net.OpError
		if !errors.As(err, &op) || !tt.check(err) {
			t.Errorf("%s: %v", tt.why, err)
		}
		if conn != nil {
			t.Errorf("%s: a connection comes with the error", tt.why)
		}
	}
}

// A packet filter drops what it does not allow, but who dials is told.
func TestDialRefusedByPolicy(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) {
		c.Filter = []coord.Rule{{From: []string{"*"}, To: []string{"*"}, FirstPort: 7, LastPort: 7}}
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

func TestListenErrors(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	if _, err := s.Listen("tcp", ":80"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why, network, addr string
		check              func(error) bool
	}{
		{"a port in use", "tcp", ":80", is(syscall.EADDRINUSE)},
		{"somebody else's address", "tcp", "100.64.9.9:80", anyError},
		{"a name", "tcp", "node:80", anyError},
		{"UDP", "udp", ":80", anyError},
	} {
		ln, err := s.Listen(tt.network, tt.addr)
		var op *net.OpError
		if !errors.As(err, &op) || !tt.check(err) {
			t.Errorf("%s: %v", tt.why, err)
		}
		if ln != nil {
			t.Errorf("%s: a listener comes with the error", tt.why)
		}
	}
}

func TestListenOnPortZeroAndOwnAddresses(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	b4, b6 := b.IPs()
	for _, addr := range []string{":0", b4.String() + ":0", "[" + b6.String() + "]:0"} {
		ln, err := b.Listen("tcp", addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		at := netip.MustParseAddrPort(ln.Addr().String())
		host := at.Addr()
		if host.IsUnspecified() {
			host = b4
		}
		dialled, accepted := pair(t, a, ln, netip.AddrPortFrom(host, at.Port()).String())
		dialled.Close()
		accepted.Close()
		ln.Close()
	}
}

func TestBulkAndHalfClose(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	there := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{1}).Read(there)
	dialled, accepted := pair(t, a, ln, "b:80")
	defer dialled.Close()

	sums := make(chan [32]byte, 1)
	go func() {
		defer accepted.Close()
		got, err := io.ReadAll(accepted) // ends with the other side's CloseWrite
		if err != nil {
			t.Error(err)
		}
		sums <- sha256.Sum256(got)
		accepted.Write(got) // which has left this direction open
	}()
	if _, err := dialled.Write(there); err != nil {
		t.Fatal(err)
	}
	if err := dialled.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(dialled)
	if err != nil || !bytes.Equal(back, there) {
		t.Errorf("%d bytes came back of %d: %v", len(back), len(there), err)
	}
	if <-sums != sha256.Sum256(there) {
		t.Error("the bytes changed on the way")
	}
}

func TestHTTPClientAndWhoIs(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.up("web"), m.up("visitor")
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := web.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(w, who.Node.Name)
	}))
	resp, err := visitor.HTTPClient().Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if name, err := io.ReadAll(resp.Body); err != nil || string(name) != "visitor.mesh.internal" {
		t.Errorf("the server was visited by %q, %v", name, err)
	}
	if _, err := web.WhoIs(testCtx(t), "100.64.9.9"); err == nil {
		t.Error("somebody has an address that nobody has")
	}
	if _, err := web.WhoIs(testCtx(t), "web"); err == nil {
		t.Error("a name is not an address")
	}
}

func TestStatus(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	status := a.Status()
	if status.State != StateRunning || status.Err != nil || status.Self.Name != "a.mesh.internal" {
		t.Errorf("the status is %+v", status)
	}
	i := slices.IndexFunc(status.Peers, func(p PeerStatus) bool { return p.Name == "b.mesh.internal" })
	if i < 0 {
		t.Fatalf("b is not among %+v", status.Peers)
	}
	p := status.Peers[i]
	if p.Path.Relay != "test" || p.BytesSent == 0 || p.BytesReceived == 0 || p.LastHandshake.IsZero() || !p.Online {
		t.Errorf("b is %+v", p)
	}
}

// TestRestarts stops the coordinator and the relay under an open connection.
func TestRestarts(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	again := func(when string) {
		t.Helper()
		deadline, _ := testCtx(t).Deadline()
		conn.SetDeadline(deadline)
		got := make([]byte, len(when))
		if _, err := io.WriteString(conn, when); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != when {
			t.Fatalf("%s: the echo is %q, %v", when, got, err)
		}
	}
	again("before all")

	m.control.stop()
	again("while the coordinator is away")
	m.startCoord()
	c := m.up("c") // is seen by a once a is back at the coordinator
	if _, err := a.running().view.wait(testCtx(t), func(v view) (bool, error) {
		_, ok := v.netMap.ByKey(c.Status().Self.Key)
		return ok, nil
	}); err != nil {
		t.Fatal("a does not come back to the coordinator: ", err)
	}
	again("after the coordinator's restart")

	m.relay.stop()
	m.startRelay()
	again("after the relay's restart")
}

// TestNoSecretInTheLog runs a mesh at debug level and looks for every secret
// there is.
func TestNoSecretInTheLog(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	bad := m.server("bad")
	bad.AuthKey = "meshkey-secret-but-wrong"
	bad.Up(testCtx(t))
	secrets := map[string]string{"the auth key": m.authKey, "a wrong auth key": bad.AuthKey}
	for _, s := range []*Server{a, b} {
		id, err := loadIdentity(s.Store)
		if err != nil {
			t.Fatal(err)
		}
		secrets[s.Hostname+"'s node key"] = strings.TrimPrefix(id.node.Secret(), "privkey:")
		secrets[s.Hostname+"'s machine key"] = strings.TrimPrefix(id.machine.Secret(), "privkey:")
		s.Close()
	}
	log := m.log.String()
	if len(log) == 0 {
		t.Fatal("there is no log")
	}
	for what, secret := range secrets {
		if strings.Contains(strings.ToLower(log), strings.ToLower(secret)) {
			t.Errorf("%s is in the log", what)
		}
	}
}
