package netstack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mustListenUDP(t testing.TB, s *Stack, network, addr string) net.PacketConn {
	t.Helper()
	where := netip.AddrPort{}
	if addr != "" {
		where = netip.MustParseAddrPort(addr)
	}
	pc, err := s.ListenUDP(network, where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

func mustDialUDP(t testing.TB, s *Stack, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := s.DialUDP(within(t), "udp", netip.Addr{}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// udpEcho sends a datagram from a new socket of s to pc and back, and checks
// that both know each other's addresses.
func udpEcho(t *testing.T, s *Stack, pc net.PacketConn, to netip.AddrPort) {
	t.Helper()
	client := mustDialUDP(t, s, to)
	client.SetDeadline(time.Now().Add(30 * time.Second))
	pc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := client.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := pc.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "ping" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	if from.String() != client.LocalAddr().String() || from.(*net.UDPAddr).AddrPort().Addr().Is4In6() {
		t.Errorf("from %v; want %v", from, client.LocalAddr())
	}
	if _, err := pc.WriteTo([]byte("pong"), from); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(buf); err != nil || string(buf[:n]) != "pong" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

// A udpHost is a network to run the same steps on: the kernel's loopback or a
// stack dialing itself.
type udpHost struct {
	listen func(network, addr string) (net.PacketConn, error)
	dial   func(addr string) (net.Conn, error)
	ip4    string
}

func kernelHost() udpHost {
	return udpHost{
		listen: net.ListenPacket,
		dial:   func(addr string) (net.Conn, error) { return net.Dial("udp", addr) },
		ip4:    "127.0.0.1",
	}
}

func stackHost(t *testing.T) udpHost {
	s := newStack(t, a4, a6)
	return udpHost{
		listen: func(network, addr string) (net.PacketConn, error) {
			return s.ListenUDP(network, netip.MustParseAddrPort(addr))
		},
		dial: func(addr string) (net.Conn, error) {
			return s.DialUDP(within(t), "udp", netip.Addr{}, netip.MustParseAddrPort(addr))
		},
		ip4: a4.String(),
	}
}

// TestUDPLikeTheKernel runs the same steps on the kernel's UDP and on ours,
// and compares what they say.
func TestUDPLikeTheKernel(t *testing.T) {
	for name, steps := range map[string]func(t *testing.T, h udpHost, say func(...any)){
		"a datagram and its answer": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			n, err := c.Write([]byte("hello"))
			say("write", n, err)
			buf := make([]byte, 100)
			n, from, err := pc.ReadFrom(buf)
			say("read", string(buf[:n]), err, from.String() == c.LocalAddr().String(), len(from.(*net.UDPAddr).IP.To4()))
			n, err = pc.WriteTo([]byte("world"), from)
			say("answer", n, err)
			n, err = c.Read(buf)
			say("read", string(buf[:n]), err)
		},
		"without allocated addresses": func(t *testing.T, h udpHost, say func(...any)) {
			type addrPorts interface {
				ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
				WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
			}
			pc, c := udpPair(t, h)
			c.Write([]byte("hello"))
			buf := make([]byte, 100)
			n, from, err := pc.(addrPorts).ReadFromUDPAddrPort(buf)
			say("read", string(buf[:n]), err, from.String() == c.LocalAddr().String())
			n, err = pc.(addrPorts).WriteToUDPAddrPort([]byte("world"), from)
			say("answer", n, err)
			n, err = c.Read(buf)
			say("read", string(buf[:n]), err)
			_, err = c.(addrPorts).WriteToUDPAddrPort([]byte("x"), from)
			say(errors.Is(err, net.ErrWriteToConnected), shape(err))
		},
		"an empty datagram": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			say(c.Write(nil))
			n, _, err := pc.ReadFrom(make([]byte, 10))
			say(n, err)
		},
		"a buffer too small": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			c.Write([]byte("hello"))
			c.Write([]byte("world"))
			buf := make([]byte, 3)
			for range 2 {
				n, _, err := pc.ReadFrom(buf)
				say(string(buf[:n]), err)
			}
		},
		"a buffer of nothing": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			c.Write([]byte("hello"))
			c.Write([]byte("world"))
			n, _, err := pc.ReadFrom(nil)
			say(n, err)
			buf := make([]byte, 10)
			n, _, err = pc.ReadFrom(buf)
			say(string(buf[:n]), err)
		},
		"the largest datagram": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			big := bytes.Repeat([]byte("x"), 65507)
			n, err := c.Write(big)
			say(n, err)
			buf := make([]byte, 65535)
			n, _, err = pc.ReadFrom(buf)
			say(n, err, bytes.Equal(big, buf[:n]))
		},
		"one byte too many": func(t *testing.T, h udpHost, say func(...any)) {
			_, c := udpPair(t, h)
			n, err := c.Write(make([]byte, 65508))
			say(n, errors.Is(err, syscall.EMSGSIZE), shape(err))
		},
		"an expired read deadline": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			pc.SetReadDeadline(time.Unix(1, 0))
			n, from, err := pc.ReadFrom(make([]byte, 1))
			say(n, from, errors.Is(err, os.ErrDeadlineExceeded), shape(err))
			_, err = pc.WriteTo([]byte("x"), c.LocalAddr())
			say("write", err)
			pc.SetReadDeadline(time.Time{})
			c.Write([]byte("x"))
			n, _, err = pc.ReadFrom(make([]byte, 1))
			say(n, err)
		},
		"an expired write deadline": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			pc.SetWriteDeadline(time.Unix(1, 0))
			_, err := pc.WriteTo([]byte("x"), c.LocalAddr())
			say(errors.Is(err, os.ErrDeadlineExceeded), shape(err))
		},
		"a deadline while waiting": func(t *testing.T, h udpHost, say func(...any)) {
			pc, _ := udpPair(t, h)
			pc.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, _, err := pc.ReadFrom(make([]byte, 1))
			say(errors.Is(err, os.ErrDeadlineExceeded), shape(err))
		},
		"closed": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			to := c.LocalAddr()
			say(pc.Close())
			_, _, err := pc.ReadFrom(make([]byte, 1))
			say("read", errors.Is(err, net.ErrClosed), shape(err))
			_, err = pc.WriteTo([]byte("x"), to)
			say("write", errors.Is(err, net.ErrClosed), shape(err))
			err = pc.SetDeadline(time.Now())
			say("deadline", errors.Is(err, net.ErrClosed))
			err = pc.Close()
			say("close", errors.Is(err, net.ErrClosed), shape(err))
		},
		"closed while waiting": func(t *testing.T, h udpHost, say func(...any)) {
			pc, _ := udpPair(t, h)
			time.AfterFunc(time.Millisecond, func() { pc.Close() })
			_, _, err := pc.ReadFrom(make([]byte, 1))
			say(errors.Is(err, net.ErrClosed), shape(err))
		},
		"WriteTo on a connection": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			_, err := c.(net.PacketConn).WriteTo([]byte("x"), pc.LocalAddr())
			say(errors.Is(err, net.ErrWriteToConnected), shape(err))
		},
		"Write without a connection": func(t *testing.T, h udpHost, say func(...any)) {
			pc, _ := udpPair(t, h)
			_, err := pc.(net.Conn).Write([]byte("x"))
			say(errors.Is(err, syscall.EDESTADDRREQ), shape(err), pc.(net.Conn).RemoteAddr())
		},
		"WriteTo an address of TCP": func(t *testing.T, h udpHost, say func(...any)) {
			pc, _ := udpPair(t, h)
			_, err := pc.WriteTo([]byte("x"), &net.TCPAddr{IP: net.ParseIP(h.ip4), Port: 1})
			say(errors.Is(err, syscall.EINVAL))
		},
		"WriteTo IPv6 from udp4": func(t *testing.T, h udpHost, say func(...any)) {
			pc, err := h.listen("udp4", "0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			_, err = pc.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: 1})
			var addrErr *net.AddrError
			say(errors.As(err, &addrErr), addrErr)
		},
		"nobody listens": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			pc.Close()
			n, err := c.Write([]byte("x"))
			say(n, err)
			_, err = c.Read(make([]byte, 1))
			say(errors.Is(err, syscall.ECONNREFUSED), shape(err))
		},
		"from a stranger to a connection": func(t *testing.T, h udpHost, say func(...any)) {
			pc, c := udpPair(t, h)
			stranger, err := h.listen("udp", h.ip4+":0")
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			stranger.WriteTo([]byte("stranger"), c.LocalAddr())
			pc.WriteTo([]byte("friend"), c.LocalAddr())
			buf := make([]byte, 10)
			n, err := c.Read(buf)
			say(string(buf[:n]), err)
		},
		"the port is taken": func(t *testing.T, h udpHost, say func(...any)) {
			pc, _ := udpPair(t, h)
			second, err := h.listen("udp", pc.LocalAddr().String())
			say(second == nil, errors.Is(err, syscall.EADDRINUSE))
		},
		"how addresses are shown": func(t *testing.T, h udpHost, say func(...any)) {
			for _, where := range [][2]string{{"udp", "0.0.0.0:0"}, {"udp", "[::]:0"}, {"udp4", "0.0.0.0:0"}, {"udp6", "[::]:0"}} {
				pc, err := h.listen(where[0], where[1])
				if err != nil {
					t.Fatal(err)
				}
				ap := pc.LocalAddr().(*net.UDPAddr)
				say(where, ap.IP.String(), ap.Port != 0, ap.Network())
				pc.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			transcript := func(h udpHost) string {
				var b strings.Builder
				steps(t, h, func(words ...any) { fmt.Fprintln(&b, words...) })
				return b.String()
			}
			want, got := transcript(kernelHost()), transcript(stackHost(t))
			if got != want {
				t.Errorf("the stack says\n%s\nthe kernel says\n%s", got, want)
			}
		})
	}
}

// udpPair returns a socket that listens on IPv4 and a connection to it.
func udpPair(t *testing.T, h udpHost) (net.PacketConn, net.Conn) {
	t.Helper()
	pc, err := h.listen("udp", h.ip4+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	c, err := h.dial(pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	pc.SetDeadline(time.Now().Add(30 * time.Second))
	return pc, c
}

// shape describes an error without its addresses.
func shape(err error) string {
	var opErr *net.OpError
	if !errors.As(err, &opErr) {
		return fmt.Sprintf("%T", err)
	}
	return fmt.Sprintf("%s %s source:%v addr:%v timeout:%v %v", opErr.Op, opErr.Net, opErr.Source != nil, opErr.Addr != nil, opErr.Timeout(), opErr.Err)
}

func TestUDPWildcard(t *testing.T) {
	a, b := newPair(t)
	pc := mustListenUDP(t, b, "udp", "")
	for _, ip := range []netip.Addr{b4, b6} {
		udpEcho(t, a, pc, netip.AddrPortFrom(ip, portOf(pc.LocalAddr())))
	}
}

func TestUDPAnswersFromTheAddressWrittenTo(t *testing.T) {
	a, b := newPair(t)
	second4, second6 := netip.MustParseAddr("100.64.0.22"), netip.MustParseAddr("fd7a:115c:a1e0::22")
	if err := b.SetAddrs([]netip.Addr{b4, b6, second4, second6}); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "udp4", "udp6"} {
		pc := mustListenUDP(t, b, network, "")
		for _, ip := range []netip.Addr{b4, second4, b6, second6, b4, b6} {
			if network == "udp4" && ip.Is6() || network == "udp6" && ip.Is4() {
				continue
			}
			udpEcho(t, a, pc, netip.AddrPortFrom(ip, portOf(pc.LocalAddr()))) // the connection drops answers from elsewhere
		}
	}
}

func TestUDPAnswersWhenTheAddressWrittenToIsGone(t *testing.T) {
	a, b := newPair(t)
	second := netip.MustParseAddr("100.64.0.22")
	if err := b.SetAddrs([]netip.Addr{b4, second}); err != nil {
		t.Fatal(err)
	}
	pc := mustListenUDP(t, b, "udp", "")
	client := mustListenUDP(t, a, "udp", "")
	peer := net.UDPAddrFromAddrPort(netip.AddrPortFrom(a4, portOf(client.LocalAddr())))
	if _, err := client.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(second, portOf(pc.LocalAddr())))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pc.ReadFrom(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := b.SetAddrs([]netip.Addr{b4}); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.WriteTo([]byte("hello"), peer); err != nil {
		t.Fatal(err)
	}
	client.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, from, err := client.ReadFrom(make([]byte, 5)); err != nil || from.(*net.UDPAddr).AddrPort().Addr() != b4 {
		t.Errorf("an answer from %v, %v; want one from %v", from, err, b4)
	}
}

func TestUDPFragments(t *testing.T) {
	a, b := newPair(t)
	pc := mustListenUDP(t, b, "udp", "0.0.0.0:53")
	pc.SetDeadline(time.Now().Add(30 * time.Second))
	for _, test := range []struct {
		to  netip.Addr
		max int
	}{{b4, 65507}, {b6, 65527}} {
		c := mustDialUDP(t, a, netip.AddrPortFrom(test.to, 53))
		for _, n := range []int{1, 1200, 1280, 5000, 65507, test.max} {
			want := bytes.Repeat([]byte{byte(n)}, n)
			if _, err := c.Write(want); err != nil {
				t.Fatalf("%v, %d bytes: %v", test.to, n, err)
			}
			got := make([]byte, 65535)
			m, _, err := pc.ReadFrom(got)
			if err != nil || !bytes.Equal(got[:m], want) {
				t.Errorf("%v: got %d bytes of %d, %v", test.to, m, n, err)
			}
		}
		if _, err := c.Write(make([]byte, test.max+1)); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%v: one byte too many: %v", test.to, err)
		}
	}
}
