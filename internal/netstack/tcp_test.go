package netstack

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func TestConn(t *testing.T) {
	for name, addr := range map[string]netip.Addr{"IPv4": b4, "IPv6": b6} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b := newPair(t)
				c1, c2 = connect(t, a, b, addr)
				return c1, c2, func() { c1.Close(); c2.Close(); a.Close(); b.Close() }, nil
			})
		})
	}
}

func TestBulk(t *testing.T) {
	a, b := newPair(t)
	for name, addr := range map[string]netip.Addr{"IPv4": b4, "IPv6": b6} {
		t.Run(name, func(t *testing.T) { bulk(t, a, b, addr) })
	}
	t.Run("self", func(t *testing.T) { bulk(t, b, b, b4) })
}

// bulk sends 64 MiB there and, at the same time, 64 MiB back.
func bulk(t *testing.T, from, to *Stack, addr netip.Addr) {
	client, server := connect(t, from, to, addr)
	const size = 64 << 20
	var wg sync.WaitGroup
	send := func(c net.Conn, seed byte) (sum [32]byte) {
		h := sha256.New()
		if _, err := io.CopyN(io.MultiWriter(c, h), rand.NewChaCha8([32]byte{seed}), size); err != nil {
			t.Errorf("sending: %v", err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		return [32]byte(h.Sum(nil))
	}
	receive := func(c net.Conn) (sum [32]byte) {
		h := sha256.New()
		if n, err := io.Copy(h, c); err != nil || n != size {
			t.Errorf("received %d bytes, %v", n, err)
		}
		return [32]byte(h.Sum(nil))
	}
	var sent, got [2][32]byte
	wg.Go(func() { sent[0] = send(client, 1) })
	wg.Go(func() { sent[1] = send(server, 2) })
	wg.Go(func() { got[0] = receive(server) })
	wg.Go(func() { got[1] = receive(client) })
	wg.Wait()
	if sent != got {
		t.Error("what arrived is not what was sent")
	}
}

func TestDialErrors(t *testing.T) {
	a, _ := newPair(t)
	only4 := newStack(t, a4)
	none := newStack(t)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithTimeout(context.Background(), -1)
	defer cancel()

	for _, test := range []struct {
		why   string
		stack *Stack
		ctx   context.Context
		local netip.Addr
		to    string
		want  error
	}{
		{"nobody listens", a, nil, netip.Addr{}, "100.64.0.2:1", syscall.ECONNREFUSED},
		{"nobody listens on IPv6", a, nil, netip.Addr{}, "[fd7a:115c:a1e0::2]:1", syscall.ECONNREFUSED},
		{"nobody listens on ourselves", a, nil, netip.Addr{}, "100.64.0.1:1", syscall.ECONNREFUSED},
		{"unspecified means ourselves", a, nil, netip.Addr{}, "0.0.0.0:1", syscall.ECONNREFUSED},
		{"unspecified means ourselves on IPv6", a, nil, netip.Addr{}, "[::]:1", syscall.ECONNREFUSED},
		{"we have no IPv6 address", only4, nil, netip.Addr{}, "[fd7a:115c:a1e0::2]:1", syscall.ENETUNREACH},
		{"we have no address", none, nil, netip.Addr{}, "100.64.0.2:1", syscall.ENETUNREACH},
		{"loopback is not in the mesh", a, nil, netip.Addr{}, "127.0.0.1:1", syscall.ENETUNREACH},
		{"loopback is not in the mesh on IPv6", a, nil, netip.Addr{}, "[::1]:1", syscall.ENETUNREACH},
		{"from an address that is not ours", a, nil, b4, "100.64.0.2:1", syscall.EADDRNOTAVAIL},
		{"canceled before", a, canceled, netip.Addr{}, "100.64.0.9:1", context.Canceled},
		{"too late before", a, expired, netip.Addr{}, "100.64.0.9:1", context.DeadlineExceeded},
	} {
		t.Run(test.why, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = within(t)
			}
			for network, dial := range map[string]func(context.Context, string, netip.Addr, netip.AddrPort) (net.Conn, error){
				"tcp": test.stack.DialTCP, "udp": test.stack.DialUDP,
			} {
				c, err := dial(ctx, network, test.local, netip.MustParseAddrPort(test.to))
				if network == "udp" && test.want == syscall.ECONNREFUSED {
					if err != nil {
						t.Errorf("udp: %v; want no error before the first datagram", err)
					} else {
						c.Close()
					}
					continue
				}
				if c != nil {
					t.Errorf("%s: a connection came with the error", network)
				}
				wantOpError(t, err, "dial", network, test.to, test.want)
			}
		})
	}
}

// wantOpError checks that err is what package net would have returned.
func wantOpError(t *testing.T, err error, op, network, addr string, want error) {
	t.Helper()
	var opErr *net.OpError
	if !errors.As(err, &opErr) {
		t.Errorf("%s %s: error %v (%T) is not a *net.OpError", op, network, err, err)
		return
	}
	if opErr.Op != op || opErr.Net != network || opErr.Addr == nil || opErr.Addr.String() != addr {
		t.Errorf("%s %s %s: got Op %q, Net %q, Addr %v", op, network, addr, opErr.Op, opErr.Net, opErr.Addr)
	}
	if !errors.Is(err, want) {
		t.Errorf("%s %s %s: got %v; want %v", op, network, addr, err, want)
	}
	if wantTimeout := want == os.ErrDeadlineExceeded || want == context.DeadlineExceeded; opErr.Timeout() != wantTimeout {
		t.Errorf("%s %s %s: Timeout() is %v", op, network, addr, opErr.Timeout())
	}
}

func TestDialIsCanceled(t *testing.T) {
	a, _ := newPair(t)
	nobody := netip.MustParseAddrPort("100.64.0.9:1")
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := a.DialTCP(ctx, "tcp", netip.Addr{}, nobody)
	wantOpError(t, err, "dial", "tcp", nobody.String(), context.Canceled)

	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = a.DialTCP(ctx, "tcp", netip.Addr{}, nobody)
	wantOpError(t, err, "dial", "tcp", nobody.String(), context.DeadlineExceeded)

	if left := a.ip.RegisteredEndpoints(); len(left) != 0 {
		t.Errorf("%d endpoints are left of dials that were canceled", len(left))
	}
}

func TestDialEndsWithTheStack(t *testing.T) {
	a, _ := newPair(t)
	nobody := netip.MustParseAddrPort("100.64.0.9:1")
	time.AfterFunc(10*time.Millisecond, func() { a.Close() })
	_, err := a.DialTCP(within(t), "tcp", netip.Addr{}, nobody)
	wantOpError(t, err, "dial", "tcp", nobody.String(), net.ErrClosed)
	_, err = a.DialTCP(within(t), "tcp", netip.Addr{}, nobody)
	wantOpError(t, err, "dial", "tcp", nobody.String(), net.ErrClosed)
}

func TestListen(t *testing.T) {
	a, b := newPair(t)
	for _, test := range []struct {
		network, addr string
		shown         string // without the port
		answers       []netip.Addr
		refuses       []netip.Addr
	}{
		{"tcp", "", "[::]", []netip.Addr{b4, b6}, nil},
		{"tcp", "0.0.0.0:0", "[::]", []netip.Addr{b4, b6}, nil},
		{"tcp", "[::]:0", "[::]", []netip.Addr{b4, b6}, nil},
		{"tcp4", "", "0.0.0.0", []netip.Addr{b4}, []netip.Addr{b6}},
		{"tcp6", "", "[::]", []netip.Addr{b6}, []netip.Addr{b4}},
		{"tcp", "100.64.0.2:0", "100.64.0.2", []netip.Addr{b4}, []netip.Addr{b6}},
		{"tcp", "[fd7a:115c:a1e0::2]:0", "[fd7a:115c:a1e0::2]", []netip.Addr{b6}, []netip.Addr{b4}},
	} {
		t.Run(test.network+" "+test.addr, func(t *testing.T) {
			l := mustListen(t, b, test.network, test.addr)
			addr := l.Addr().(*net.TCPAddr)
			if addr.Port == 0 || l.Addr().String() != (test.shown+":"+itoa(addr.Port)) {
				t.Errorf("Addr is %v", l.Addr())
			}
			for _, ip := range test.answers {
				to := netip.AddrPortFrom(ip, uint16(addr.Port))
				client := mustDial(t, a, to)
				server, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				if got := client.RemoteAddr().(*net.TCPAddr).AddrPort(); got != to {
					t.Errorf("the client's remote address is %v; want %v", got, to)
				}
				if got := server.LocalAddr().(*net.TCPAddr).AddrPort(); got != to {
					t.Errorf("the server's local address is %v; want %v", got, to)
				}
				if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
					t.Errorf("the server's remote address is %v; want %v", got, want)
				}
			}
			for _, ip := range test.refuses {
				to := netip.AddrPortFrom(ip, uint16(addr.Port))
				_, err := a.DialTCP(within(t), "tcp", netip.Addr{}, to)
				wantOpError(t, err, "dial", "tcp", to.String(), syscall.ECONNREFUSED)
			}
		})
	}
}

func itoa(port int) string { return netip.AddrPortFrom(a4, uint16(port)).String()[len(a4.String())+1:] }

func TestListenErrors(t *testing.T) {
	s := newStack(t, a4, a6)
	mustListen(t, s, "tcp", "0.0.0.0:80")
	mustListen(t, s, "tcp", "100.64.0.1:81")
	mustListenUDP(t, s, "udp", "0.0.0.0:80")
	for _, test := range []struct {
		network, addr string
		want          error
	}{
		{"tcp", "[::]:80", syscall.EADDRINUSE},
		{"tcp4", "0.0.0.0:80", syscall.EADDRINUSE},
		{"tcp6", "[::]:80", syscall.EADDRINUSE},
		{"tcp", "100.64.0.1:80", syscall.EADDRINUSE},
		{"tcp", "100.64.0.1:81", syscall.EADDRINUSE},
		{"tcp", "100.64.0.7:80", syscall.EADDRNOTAVAIL},
		{"udp", "[::]:80", syscall.EADDRINUSE},
		{"udp4", "0.0.0.0:80", syscall.EADDRINUSE},
		{"udp", "100.64.0.7:80", syscall.EADDRNOTAVAIL},
	} {
		var err error
		if addr := netip.MustParseAddrPort(test.addr); test.network[:3] == "tcp" {
			_, err = s.ListenTCP(test.network, addr)
		} else {
			_, err = s.ListenUDP(test.network, addr)
		}
		if err == nil {
			t.Errorf("%s %s: no error; want %v", test.network, test.addr, test.want)
			continue
		}
		wantOpError(t, err, "listen", test.network, test.addr, test.want)
	}
	var addrErr *net.AddrError
	if _, err := s.ListenTCP("tcp4", netip.AddrPortFrom(a6, 0)); !errors.As(err, &addrErr) {
		t.Errorf("tcp4 on an IPv6 address: %v", err)
	}
	if _, err := s.ListenUDP("udp6", netip.AddrPortFrom(a4, 0)); !errors.As(err, &addrErr) {
		t.Errorf("udp6 on an IPv4 address: %v", err)
	}
	var unknown net.UnknownNetworkError
	if _, err := s.ListenTCP("udp", netip.AddrPort{}); !errors.As(err, &unknown) {
		t.Errorf("ListenTCP of udp: %v", err)
	}
	s.Close()
	_, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:82"))
	wantOpError(t, err, "listen", "tcp", "0.0.0.0:82", net.ErrClosed)
}

func TestListenAgain(t *testing.T) {
	a, b := newPair(t)
	l := mustListen(t, b, "tcp", "0.0.0.0:80")
	client := mustDial(t, a, netip.AddrPortFrom(b4, 80))
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = mustListen(t, b, "tcp", "0.0.0.0:80") // although a connection of the first lives
	echo(t, client, server)
	server.Close() // this end is in TIME_WAIT
	client.Close()
	l.Close()
	mustListen(t, b, "tcp", "0.0.0.0:80")
}

// echo sends a word each way.
func echo(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(ends[1], got); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestAcceptAfterClose(t *testing.T) {
	for name, end := range map[string]func(l net.Listener, s *Stack){
		"the listener": func(l net.Listener, _ *Stack) { l.Close() },
		"the stack":    func(_ net.Listener, s *Stack) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, a4)
			l := mustListen(t, s, "tcp", "0.0.0.0:80")
			waiting := make(chan error)
			go func() {
				_, err := l.Accept()
				waiting <- err
			}()
			time.AfterFunc(time.Millisecond, func() { end(l, s) })
			wantOpError(t, <-waiting, "accept", "tcp", "[::]:80", net.ErrClosed)
			_, err := l.Accept()
			wantOpError(t, err, "accept", "tcp", "[::]:80", net.ErrClosed)
		})
	}
}

func TestListenerClosedTwice(t *testing.T) {
	l := mustListen(t, newStack(t, a4), "tcp", "0.0.0.0:80")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantOpError(t, l.Close(), "close", "tcp", "[::]:80", net.ErrClosed)
}

func TestListenBeforeAddrs(t *testing.T) {
	a, b := newStack(t, a4, a6), newStack(t)
	join(t, a, b)
	l := mustListen(t, b, "tcp", "0.0.0.0:80")
	pc := mustListenUDP(t, b, "udp", "0.0.0.0:80")
	if err := b.SetAddrs([]netip.Addr{b4, b6}); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []netip.Addr{b4, b6} {
		client := mustDial(t, a, netip.AddrPortFrom(ip, 80))
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		echo(t, client, server)
		udpEcho(t, a, pc, netip.AddrPortFrom(ip, 80))
	}
}

func TestSlowAccept(t *testing.T) {
	a, b := newPair(t)
	mustListen(t, b, "tcp", "0.0.0.0:80") // never accepts
	for range 300 {
		c := mustDial(t, a, netip.AddrPortFrom(b4, 80))
		if _, err := c.Write([]byte("are you there?")); err != nil {
			t.Fatal(err)
		}
	}
	echoed, server := connect(t, a, b, b4)
	echo(t, echoed, server)
}

func TestReadDeadlineLeavesWritingAlone(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	client.SetReadDeadline(time.Unix(1, 0))
	_, err := client.Read(make([]byte, 1))
	wantOpError(t, err, "read", "tcp", server.LocalAddr().String(), os.ErrDeadlineExceeded)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Errorf("Write after a read deadline: %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	client.SetReadDeadline(time.Time{})
	echo(t, server, client)

	client.SetWriteDeadline(time.Unix(1, 0))
	_, err = client.Write([]byte("x"))
	wantOpError(t, err, "write", "tcp", server.LocalAddr().String(), os.ErrDeadlineExceeded)
}

func TestHalfClose(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b6)
	type halves interface {
		CloseWrite() error
		CloseRead() error
	}
	if err := client.(halves).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read after the peer's CloseWrite: %v", err)
	}
	_, err := client.Write([]byte("x"))
	wantOpError(t, err, "write", "tcp", client.RemoteAddr().String(), syscall.EPIPE)
	if _, err := server.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "still here" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := client.(halves).CloseRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(got); err != io.EOF {
		t.Errorf("Read after CloseRead: %v", err)
	}
	client.Close()
	wantOpError(t, client.(halves).CloseWrite(), "close", "tcp", client.RemoteAddr().String(), net.ErrClosed)
}

func TestUseAfterClose(t *testing.T) {
	for name, end := range map[string]func(c net.Conn, s *Stack){
		"the connection": func(c net.Conn, _ *Stack) { c.Close() },
		"the stack":      func(_ net.Conn, s *Stack) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newPair(t)
			client, server := connect(t, a, b, b4)
			remote := client.RemoteAddr().String()
			waiting := make(chan error)
			go func() {
				_, err := client.Read(make([]byte, 1))
				waiting <- err
			}()
			time.AfterFunc(time.Millisecond, func() { end(client, a) })
			wantOpError(t, <-waiting, "read", "tcp", remote, net.ErrClosed)
			_, err := client.Read(make([]byte, 1))
			wantOpError(t, err, "read", "tcp", remote, net.ErrClosed)
			_, err = client.Write([]byte("x"))
			wantOpError(t, err, "write", "tcp", remote, net.ErrClosed)
			wantOpError(t, client.SetDeadline(time.Now()), "set", "tcp", remote, net.ErrClosed)
			if got := client.LocalAddr().String(); got != server.RemoteAddr().String() {
				t.Errorf("LocalAddr is %v after Close", got)
			}
			if _, err := server.Read(make([]byte, 1)); err == nil {
				t.Error("the peer read something")
			}
		})
	}
}

func TestReset(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	if _, err := client.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	server.Close() // with bytes unread: a reset, as of the kernel
	_, err := client.Read(make([]byte, 1))
	wantOpError(t, err, "read", "tcp", client.RemoteAddr().String(), syscall.ECONNRESET)
}

// What is cut off must not look like an end: proxies say so with SetLinger.
func TestCloseWithoutLingerResets(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	if err := server.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, err := client.Read(make([]byte, 1))
	wantOpError(t, err, "read", "tcp", client.RemoteAddr().String(), syscall.ECONNRESET)
	if err := server.(interface{ SetLinger(int) error }).SetLinger(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetLinger after Close: %v", err)
	}
}

func TestSetAddrsKeepsConnections(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	other := netip.MustParseAddr("100.64.0.22")
	for _, addrs := range [][]netip.Addr{{b4, b6, other}, {other, b4}, {b4}, {b4, b6}} {
		if err := b.SetAddrs(addrs); err != nil {
			t.Fatal(err)
		}
		echo(t, client, server)
	}
	if err := b.SetAddrs([]netip.Addr{other}); err != nil {
		t.Fatal(err)
	}
	l := mustListen(t, b, "tcp", "0.0.0.0:80")
	client = mustDial(t, a, netip.AddrPortFrom(other, 80))
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	echo(t, client, server)
	for _, bad := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")} {
		if b.SetAddrs([]netip.Addr{bad}) == nil {
			t.Errorf("SetAddrs took %v", bad)
		}
	}
}

func TestDialFrom(t *testing.T) {
	a, b := newPair(t)
	second := netip.MustParseAddr("100.64.0.11")
	if err := a.SetAddrs([]netip.Addr{a4, a6, second}); err != nil {
		t.Fatal(err)
	}
	mustListen(t, b, "tcp", "0.0.0.0:80")
	for _, local := range []netip.Addr{a4, second} {
		c, err := a.DialTCP(within(t), "tcp", local, netip.AddrPortFrom(b4, 80))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got != local {
			t.Errorf("dialed from %v; want %v", got, local)
		}
		c.Close()
	}
}

// A listener that comes to be while the stack closes must not keep Close waiting.
func TestListenWhileClosing(t *testing.T) {
	s := newStack(t, a4)
	where, err := bindingFor("tcp", "tcp", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	ep, _, err := s.newEndpoint(tcp.ProtocolNumber, where.family)
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	s.Close()
	if err := s.bindListener(&where, &tcpListener{socket{stack: s, ep: ep}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed stack listens: %v", err)
	}
}
