package socks5

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	xproxy "golang.org/x/net/proxy"
)

// These tests are on the host's loopback, with its real TCP.

// listenTCP serves connections on loopback with handle until the test ends, and
// returns the address.
func listenTCP(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

// serveTCP serves s on loopback until the test ends, and returns the address.
// Without a Dial of its own, s dials the host's network.
func serveTCP(t testing.TB, s *Server) string {
	t.Helper()
	if s.Dial == nil {
		s.Dial = new(net.Dialer).DialContext
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return ln.Addr().String()
}

// closedPort returns an address of loopback where nobody listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// The client of golang.org/x/net was not written here.
func TestWithTheClientOfXNet(t *testing.T) {
	target := listenTCP(t, echo)
	_, port, _ := net.SplitHostPort(target)
	server := &Server{
		Auth: Credential("ann", "secret"),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, _ := net.SplitHostPort(address); host == "echo.mesh" {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		Allow: func(_ context.Context, r *Request) error {
			if r.Host == "forbidden.mesh" {
				return errors.New("no")
			}
			return nil
		},
	}
	addr := serveTCP(t, server)
	for _, test := range []struct {
		name   string
		auth   *xproxy.Auth
		target string
		err    string // part of it; empty: an echo
	}{
		{"by name", &xproxy.Auth{User: "ann", Password: "secret"}, "echo.mesh:" + port, ""},
		{"by IPv4 address", &xproxy.Auth{User: "ann", Password: "secret"}, target, ""},
		{"by IPv4 address in IPv6", &xproxy.Auth{User: "ann", Password: "secret"}, "[::ffff:127.0.0.1]:" + port, ""},
		{"refused", &xproxy.Auth{User: "ann", Password: "secret"}, closedPort(t), "connection refused"},
		{"not allowed", &xproxy.Auth{User: "ann", Password: "secret"}, "forbidden.mesh:80", "not allowed"},
		{"wrong password", &xproxy.Auth{User: "ann", Password: "guess"}, target, "username/password"},
		{"no password", nil, target, "no acceptable authentication methods"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dialer, err := xproxy.SOCKS5("tcp", addr, test.auth, nil)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := dialer.Dial("tcp", test.target)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			wantEcho(t, conn, 1<<20)
		})
	}
}

// wantEcho sends random bytes and their end, and wants them back.
func wantEcho(t testing.TB, conn net.Conn, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.Read(sent)
	go func() {
		conn.Write(sent)
		conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != string(sent) {
		t.Errorf("read %d bytes, %v; want the %d sent", len(got), err, size)
	}
}

// dialThrough connects to a target through a proxy.
func dialThrough(proxy, target string) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	host, service, _ := net.SplitHostPort(target)
	port, _ := strconv.Atoi(service)
	conn.Write(join(anonymous, request(Connect, host, uint16(port))))
	got := make([]byte, 2+10)
	if _, err := io.ReadFull(conn, got); err != nil || got[3] != 0 {
		conn.Close()
		return nil, fmt.Errorf("the proxy answers %x, %v", got, err)
	}
	return conn.(*net.TCPConn), nil
}

// One who does not read holds up nobody else.
func TestAThousandConnections(t *testing.T) {
	const clients = 1000
	source := listenTCP(t, func(c net.Conn) { // more than all buffers hold
		chunk := make([]byte, 64<<10)
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	echoes := listenTCP(t, echo)
	proxy := serveTCP(t, new(Server))
	slow, err := dialThrough(proxy, source)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()

	var conns []*net.TCPConn
	for range clients { // all open before the first is used
		conn, err := dialThrough(proxy, echoes)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, conn)
		conn.SetDeadline(time.Now().Add(time.Minute))
	}
	var using sync.WaitGroup
	for _, conn := range conns {
		using.Go(func() {
			defer conn.Close()
			wantEcho(t, conn, 16<<10)
		})
	}
	using.Wait()
	slow.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.CopyN(io.Discard, slow, 8<<20); err != nil {
		t.Errorf("the slow reader: %v", err)
	}
}

// Clients that send garbage, or leave in the middle, do not harm others.
func TestGarbage(t *testing.T) {
	echoes := listenTCP(t, echo)
	proxy := serveTCP(t, &Server{MaxConns: 16})
	var hostile sync.WaitGroup
	for range 4 {
		hostile.Go(func() {
			for range 50 {
				conn, err := net.Dial("tcp", proxy)
				if err != nil {
					t.Error(err)
					return
				}
				garbage := make([]byte, 64)
				rand.Read(garbage)
				garbage[0] = 5
				conn.Write(garbage[:1+garbage[1]%63])
				if garbage[2]%2 == 0 {
					conn.(*net.TCPConn).SetLinger(0) // leaves with a reset
				}
				conn.Close()
			}
		})
	}
	for range 20 {
		conn, err := dialThrough(proxy, echoes)
		if err != nil {
			t.Error(err)
			continue
		}
		wantEcho(t, conn, 1<<10)
		conn.Close()
	}
	hostile.Wait()
}

// A reply arrives although the client has sent more than is read.
func TestFailuresArriveBeforeResets(t *testing.T) {
	proxy := serveTCP(t, new(Server))
	_, port, _ := net.SplitHostPort(closedPort(t))
	p, _ := strconv.Atoi(port)
	for range 20 {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(join(anonymous, request(Connect, "127.0.0.1", uint16(p)), make([]byte, 10_000)))
		got, err := io.ReadAll(conn)
		if want := join([]byte{5, 0}, failed(connectionRefused)); err != nil || string(got) != string(want) {
			t.Errorf("read %x, %v; want %x", got, err, want)
		}
		conn.Close()
	}
}

func BenchmarkThroughProxy(b *testing.B) {
	benchmarkStream(b, func(target string) (*net.TCPConn, error) {
		return dialThrough(serveTCP(b, new(Server)), target)
	})
}

func BenchmarkDirect(b *testing.B) {
	benchmarkStream(b, func(target string) (*net.TCPConn, error) {
		conn, err := net.Dial("tcp", target)
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	})
}

func benchmarkStream(b *testing.B, dial func(target string) (*net.TCPConn, error)) {
	conn, err := dial(listenTCP(b, func(c net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				c.Write([]byte("done"))
				return
			}
		}
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	conn.CloseWrite()
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkConnect measures a connection with its handshake.
func BenchmarkConnect(b *testing.B) {
	target := listenTCP(b, func(net.Conn) {})
	proxy := serveTCP(b, new(Server))
	b.ReportAllocs()
	for b.Loop() {
		conn, err := dialThrough(proxy, target)
		if err != nil {
			b.Fatal(err)
		}
		conn.SetLinger(0)
		conn.Close()
	}
}
