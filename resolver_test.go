package meshnet

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/meshnet-go/meshnet/coord"
)

// A nameServer is a node that answers for corp.test: by UDP and, for the name
// "long", by TCP alone.
type nameServer struct {
	target netip.Addr // what every name has
	alias  []netip.Addr
}

func (n *nameServer) serve(t *testing.T, on *Server) {
	t.Helper()
	pc, err := on.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := on.Listen("tcp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo([]byte("no answer"), from) // which nobody takes for one
			pc.WriteTo(n.answer(buf[:size], true), from)
		}
	}()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, question)
			answer := n.answer(question, false)
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			c.Close()
		}
	}()
}

func (n *nameServer) answer(question []byte, short bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response = true
	name := q.Name.String()
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	switch {
	case strings.HasPrefix(name, "missing."):
		m.RCode = dnsmessage.RCodeNameError
	case strings.HasPrefix(name, "broken."):
		m.RCode = dnsmessage.RCodeServerFailure
	case strings.HasPrefix(name, "long.") && short:
		m.Truncated = true
	case q.Type == dnsmessage.TypePTR:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("www.corp.test.")}}}
	case q.Type == dnsmessage.TypeA:
		for _, ip := range append(n.alias, n.target) {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}})
		}
	}
	text, _ := m.Pack()
	return text
}

// resolving is a mesh with a name server on the node b.
func resolving(t *testing.T) (m *mesh, a, b *Server) {
	m = newMesh(t, func(c *coord.Config) {
		server := []string{"100.64.0.2"}
		c.DNS.Records = []coord.Record{{Name: "db.example.com", Addr: netip.MustParseAddr("100.64.0.2")}}
		c.DNS.Split = map[string][]string{"corp.test": server, "3.2.1.in-addr.arpa": server, "nobody.test": {"100.64.9.9"}, "outside.test": {"192.0.2.1"}}
	})
	a, b = m.up("a"), m.up("b")
	b4, _ := b.IPs()
	(&nameServer{target: b4}).serve(t, b)
	return m, a, b
}

func TestResolver(t *testing.T) {
	_, a, b := resolving(t)
	b4, b6 := b.IPs()
	r := a.Resolver()
	for _, test := range []struct {
		network, host string
		want          []netip.Addr // nil: no such name
	}{
		{"ip", "b", []netip.Addr{b4, b6}},
		{"ip4", "b.mesh.internal.", []netip.Addr{b4}},
		{"ip6", "B", []netip.Addr{b6}},
		{"ip", "db.example.com", []netip.Addr{b4}},
		{"ip", b6.String(), []netip.Addr{b6}},
		{"ip", "www.corp.test", []netip.Addr{b4}},
		{"ip4", "WWW.corp.test.", []netip.Addr{b4}},
		{"ip", "long.corp.test", []netip.Addr{b4}},
		{"ip", "missing.corp.test", nil},
		{"ip6", "www.corp.test", nil},
		{"ip", "www.nobody.test", nil},
		{"ip", "www.outside.test", nil},
		{"ip", "www.example.com", nil},
		{"ip", "localhost", nil},
		{"ip", "c.mesh.internal", nil},
		{"ip", "", nil},
		{"ip", "a b.corp.test", nil},
	} {
		got, err := r.LookupNetIP(testCtx(t), test.network, test.host)
		if !slices.Equal(got, test.want) || (err != nil) != (test.want == nil) || err != nil && !isNotFound(err) {
			t.Errorf("%s of %q: %v, %v, want %v", test.network, test.host, got, err, test.want)
		}
	}
	if got, err := r.LookupHost(testCtx(t), "www.corp.test"); err != nil || !slices.Equal(got, []string{b4.String()}) {
		t.Errorf("LookupHost: %v, %v", got, err)
	}
	_, err := r.LookupNetIP(testCtx(t), "ip", "broken.corp.test")
	if failure, ok := errors.AsType[*net.DNSError](err); !ok || failure.IsNotFound || !failure.IsTemporary || failure.Server != "100.64.0.2:53" {
		t.Errorf("a server that fails: %#v", err)
	}
}

func TestResolverLookupAddr(t *testing.T) {
	_, a, b := resolving(t)
	b4, b6 := b.IPs()
	for addr, want := range map[string]string{
		b4.String(): "b.mesh.internal.",
		b6.String(): "b.mesh.internal.",
		"1.2.3.4":   "www.corp.test.",
		"1.2.4.4":   "",
		"nothing":   "",
	} {
		got, err := a.Resolver().LookupAddr(testCtx(t), addr)
		if want == "" && err == nil || want != "" && (err != nil || !slices.Equal(got, []string{want})) {
			t.Errorf("%s: %q, %v, want %q", addr, got, err, want)
		}
	}
}

// Dial asks the servers, and tries one address after the other.
func TestDialByForeignNames(t *testing.T) {
	_, a, b := resolving(t)
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "echo.corp.test:7")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A server that does not answer costs its time, and no more.
func TestResolverTimesOut(t *testing.T) {
	m := newMesh(t, func(c *coord.Config) { c.DNS.Split = map[string][]string{"corp.test": {"100.64.0.2"}} })
	a, b := m.up("a"), m.up("b")
	silent, err := b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(testCtx(t), 200*time.Millisecond)
	defer cancel()
	_, err = a.Resolver().LookupNetIP(ctx, "ip4", "www.corp.test")
	if failure, ok := errors.AsType[*net.DNSError](err); !ok || !failure.IsTimeout {
		t.Errorf("a silent server: %v", err)
	}
}

// What is not in the mesh is the host's, if that is wanted, but addresses that
// could be a node's never are.
func TestHostFallback(t *testing.T) {
	m := newMesh(t, nil)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	port := outside.Addr().(*net.TCPAddr).Port
	for _, fallback := range []bool{false, true} {
		a := m.server("a")
		a.HostFallback = fallback
		m.bringUp(a)
		for _, host := range []string{"127.0.0.1", "localhost"} {
			conn, err := a.Dial(testCtx(t), "tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
			if (err == nil) != fallback {
				t.Errorf("with fallback %v, %s: %v", fallback, host, err)
			}
			if conn != nil {
				conn.Close()
			}
		}
		if ips, err := a.Resolver().LookupNetIP(testCtx(t), "ip4", "localhost"); (err == nil) != fallback {
			t.Errorf("with fallback %v localhost is %v, %v", fallback, ips, err)
		}
		if conn, err := a.Dial(testCtx(t), "tcp", net.JoinHostPort("100.99.9.9", strconv.Itoa(port))); err == nil {
			conn.Close()
			t.Errorf("with fallback %v an address of the mesh is dialled outside", fallback)
		}
	}
}
