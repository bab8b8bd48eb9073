package meshnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"
)

// viaSOCKS dials address through the SOCKS5 server at addr, with the client of
// x/net. The connection is the one to the proxy itself, which can be
// half-closed.
func viaSOCKS(t testing.TB, addr, password, address string) (*net.TCPConn, error) {
	t.Helper()
	var tcp rememberingDialer
	dialer, err := proxy.SOCKS5("tcp", addr, &proxy.Auth{User: "someone", Password: password}, &tcp)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dialer.(proxy.ContextDialer).DialContext(testCtx(t), "tcp", address)
	return tcp.last, err
}

// A rememberingDialer remembers its last connection.
type rememberingDialer struct {
	net.Dialer
	last *net.TCPConn
}

func (d *rememberingDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, addr)
	if err == nil {
		d.last = c.(*net.TCPConn)
	}
	return c, err
}

func TestLoopback(t *testing.T) {
	m := newMesh(t, nil)
	web := m.up("web")
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "on the mesh") }))

	// Not started: Loopback does that, and requests wait until the node is up.
	s := m.server("a")
	addr, credential, err := s.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	if again, same, err := s.Loopback(); again != addr || same != credential || err != nil {
		t.Errorf("a second call returned %v, %v", again, err)
	}
	for _, scheme := range []string{"socks5", "http"} {
		for password, want := range map[string]string{credential: "on the mesh", "wrong": ""} {
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				Proxy:             http.ProxyURL(&url.URL{Scheme: scheme, Host: addr, User: url.UserPassword("anybody", password)}),
			}}
			var got []byte
			resp, err := client.Get("http://web/")
			if err == nil && resp.StatusCode == http.StatusOK {
				got, _ = io.ReadAll(resp.Body)
			}
			if err == nil {
				resp.Body.Close()
			}
			if string(got) != want {
				t.Errorf("%s with the password %q: %q, %v", scheme, password, got, err)
			}
		}
	}
	held, err := viaSOCKS(t, addr, credential, "web:80")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	s.Close()
	if _, err := held.Read(make([]byte, 1)); err == nil {
		t.Error("a connection through the port outlived Close")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the port outlived Close")
	}
	if _, _, err := s.Loopback(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if strings.Contains(m.log.String(), credential) {
		t.Error("the log has the credential")
	}
}

func TestSOCKSCarriesHalfClose(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	addr, credential, err := a.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	c, err := viaSOCKS(t, addr, credential, "b:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		c.Write(sent)
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// What the mesh says about a dial must reach the client, whose only word for it
// is the reply code.
func TestSOCKSReplies(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	addr, credential, err := a.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	ip4, _ := b.IPs()
	for address, want := range map[string]string{
		"b:81":                               "connection refused",
		net.JoinHostPort(ip4.String(), "81"): "connection refused",
		"nobody:80":                          "host unreachable",
		"localhost:80":                       "host unreachable", // a name of the host's, not of the mesh's
		"127.0.0.1:80":                       "network unreachable",
		"192.0.2.1:80":                       "network unreachable",
	} {
		c, err := viaSOCKS(t, addr, credential, address)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", address, err, want)
		}
	}
}

// A socksRequest is the client's side of SOCKS5 for what x/net has not: BIND
// and UDP ASSOCIATE.
func socksRequest(t *testing.T, addr, password string, command byte, dst netip.AddrPort) (c net.Conn, bound netip.AddrPort) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	c.Write([]byte{5, 1, 2})
	c.Write(append(append([]byte{1, 1, 'u', byte(len(password))}, password...), 5, command, 0))
	c.Write(appendSOCKSAddr(nil, dst))
	hello := make([]byte, 4)
	if _, err := io.ReadFull(c, hello); err != nil || !bytes.Equal(hello, []byte{5, 2, 1, 0}) {
		t.Fatalf("greeting: % x, %v", hello, err)
	}
	return c, readSOCKSReply(t, c)
}

func readSOCKSReply(t *testing.T, c net.Conn) netip.AddrPort {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || head[1] != 0 {
		t.Fatalf("reply % x, %v", head, err)
	}
	rest := make([]byte, map[byte]int{1: 4, 4: 16}[head[3]]+2)
	if _, err := io.ReadFull(c, rest); err != nil {
		t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(rest[:len(rest)-2])
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[len(rest)-2:]))
}

func appendSOCKSAddr(b []byte, a netip.AddrPort) []byte {
	kind := byte(1)
	if a.Addr().Is6() {
		kind = 4
	}
	return binary.BigEndian.AppendUint16(append(append(b, kind), a.Addr().AsSlice()...), a.Port())
}

func TestSOCKSBind(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	addr, credential, err := a.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	b4, b6 := b.IPs()
	for _, from := range []netip.Addr{b4, b6} {
		c, bound := socksRequest(t, addr, credential, 2, netip.AddrPortFrom(from, 0))
		peer, err := b.Dial(testCtx(t), "tcp", bound.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := readSOCKSReply(t, c); got.String() != peer.LocalAddr().String() {
			t.Errorf("the client is told of %v, and %v called", got, peer.LocalAddr())
		}
		peer.Write([]byte("called back"))
		peer.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "called back" {
			t.Errorf("the client read %q, %v", got, err)
		}
	}
}

func TestSOCKSAssociate(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "udp")
	addr, credential, err := a.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	_, relay := socksRequest(t, addr, credential, 3, netip.MustParseAddrPort("0.0.0.0:0"))
	c, err := net.Dial("udp", relay.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	b4, b6 := b.IPs()
	byName := append([]byte{0, 0, 0, 3, 1, 'b'}, 0, 7)
	for name, head := range map[string][]byte{
		"IPv4": appendSOCKSAddr([]byte{0, 0, 0}, netip.AddrPortFrom(b4, 7)),
		"IPv6": appendSOCKSAddr([]byte{0, 0, 0}, netip.AddrPortFrom(b6, 7)),
		"name": byName,
	} {
		c.Write(append(bytes.Clone(head), name...))
		buf := make([]byte, 1500)
		n, err := c.Read(buf)
		if err != nil || !bytes.HasSuffix(buf[:n], []byte(name)) {
			t.Errorf("%s: %q came back, %v", name, buf[:n], err)
		}
	}
}

// BenchmarkStream sends bytes over the mesh, with everything (both nodes, the
// relay, the proxy) in one process. What a proxy costs is the difference to
// direct.
func BenchmarkStream(b *testing.B) {
	m := newMesh(b, nil)
	client, server := m.up("client"), m.up("server")
	ln, err := server.Listen("tcp", ":80")
	if err != nil {
		b.Fatal(err)
	}
	addr, credential, err := client.Loopback()
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		dial func() (net.Conn, error)
	}{
		{"direct", func() (net.Conn, error) { return client.Dial(context.Background(), "tcp", "server:80") }},
		{"socks5", func() (net.Conn, error) { return viaSOCKS(b, addr, credential, "server:80") }},
	} {
		b.Run(way.name, func(b *testing.B) {
			c, err := way.dial()
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			far, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			defer far.Close()
			chunk := make([]byte, 64<<10)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for range b.N {
					c.Write(chunk)
				}
			}()
			if _, err := io.CopyN(io.Discard, far, int64(b.N*len(chunk))); err != nil {
				b.Fatal(err)
			}
		})
	}
}
