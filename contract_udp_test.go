package meshnet_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A udpNet is somewhere to exchange datagrams: the kernel's loopback, or a mesh.
type udpNet struct {
	t       *testing.T
	network string // "udp4" or "udp6"
	host    netip.Addr
	dial    func(network, address string) (net.Conn, error)
	listen  func(network, address string) (net.PacketConn, error)
}

func kernelUDP(network string) func(t *testing.T) *udpNet {
	return func(t *testing.T) *udpNet {
		host := netip.MustParseAddr("127.0.0.1")
		if network == "udp6" {
			host = netip.MustParseAddr("::1")
		}
		return &udpNet{t, network, host, net.Dial, net.ListenPacket}
	}
}

func (w way) udp(network string) func(t *testing.T) *udpNet {
	return func(t *testing.T) *udpNet {
		from, to := w.nodes(t)
		host, ip6 := to.IPs()
		if network == "udp6" {
			host = ip6
		}
		dial := func(network, address string) (net.Conn, error) { return from.Dial(within(t), network, address) }
		return &udpNet{t, network, host, dial, to.ListenPacket}
	}
}

// at returns the address of a port of the side that listens.
func (u *udpNet) at(port uint16) string { return netip.AddrPortFrom(u.host, port).String() }

// server listens on a free port.
func (u *udpNet) server() net.PacketConn {
	u.t.Helper()
	pc, err := u.listen(u.network, u.at(0))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { pc.Close() })
	pc.SetDeadline(time.Now().Add(30 * time.Second))
	return pc
}

// client dials it.
func (u *udpNet) client(pc net.PacketConn) net.Conn {
	u.t.Helper()
	c, err := u.dial(u.network, pc.LocalAddr().String())
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// write sends texts, and fails the test if one cannot be.
func (u *udpNet) write(c io.Writer, texts ...string) {
	u.t.Helper()
	for _, text := range texts {
		if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
			u.t.Fatalf("%d bytes of %d are sent: %v", n, len(text), err)
		}
	}
}

// outcome says what an operation came to in words that do not depend on where.
func outcome(n int, err error) string {
	if err == nil {
		return fmt.Sprint(n, " bytes")
	}
	text := fmt.Sprint(n, " bytes and")
	var op *net.OpError
	if errors.As(err, &op) {
		text += fmt.Sprintf(" %s %s:", op.Op, op.Net)
	}
	for _, known := range []error{
		os.ErrDeadlineExceeded, net.ErrClosed, net.ErrWriteToConnected, io.EOF,
		syscall.ECONNREFUSED, syscall.EMSGSIZE, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EDESTADDRREQ, syscall.EINVAL, syscall.EAFNOSUPPORT,
	} {
		if errors.Is(err, known) {
			return fmt.Sprintf("%s %v, timeout %v", text, known, isTimeout(err))
		}
	}
	return text + " an error"
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// read reads once, and says what came of it.
func read(c io.Reader, size int) string {
	p := make([]byte, size)
	n, err := c.Read(p)
	if err != nil {
		return outcome(n, err)
	}
	return fmt.Sprintf("%q", p[:n])
}

// readFrom does the same and looks whether it came from there.
func readFrom(c net.PacketConn, size int, from net.Addr) string {
	p := make([]byte, size)
	n, addr, err := c.ReadFrom(p)
	if err != nil {
		return fmt.Sprintf("%s, from nobody %v", outcome(n, err), addr == nil)
	}
	_, is := addr.(*net.UDPAddr)
	return fmt.Sprintf("%q, from whom it should be %v, a UDPAddr %v", p[:n], addr.String() == from.String(), is)
}

var past = time.Unix(1, 0)

// datagramRows are what package net promises of datagrams. Each says what it saw.
var datagramRows = []struct {
	what string
	do   func(u *udpNet) []string
}{
	{"datagrams keep their boundaries, empty ones too", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		u.write(c, "one", "", "three")
		return []string{readFrom(pc, 10, c.LocalAddr()), readFrom(pc, 10, c.LocalAddr()), readFrom(pc, 10, c.LocalAddr())}
	}},
	{"an answer comes from the address that was written to", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		u.write(c, "question")
		seen := readFrom(pc, 10, c.LocalAddr())
		n, err := pc.WriteTo([]byte("answer"), c.LocalAddr())
		return []string{seen, outcome(n, err), readFrom(c.(net.PacketConn), 10, pc.LocalAddr())}
	}},
	{"what does not fit is lost, and the next one whole", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		u.write(c, "12345", "678")
		return []string{readFrom(pc, 2, c.LocalAddr()), readFrom(pc, 10, c.LocalAddr())}
	}},
	{"reading into nothing takes one off", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		u.write(c, "lost", "next")
		return []string{readFrom(pc, 0, c.LocalAddr()), readFrom(pc, 10, c.LocalAddr())}
	}},
	{"the longest one arrives", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		text := strings.Repeat("x", 65507)
		u.write(c, text)
		return []string{fmt.Sprint(readFrom(pc, 1<<16, c.LocalAddr()) == fmt.Sprintf("%q, from whom it should be true, a UDPAddr true", text))}
	}},
	{"a longer one is refused", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		n, err := c.Write(make([]byte, 65536))
		m, errTo := pc.WriteTo(make([]byte, 65536), c.LocalAddr())
		return []string{outcome(n, err), outcome(m, errTo)}
	}},
	{"a deadline in the past ends reading and writing at once", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		u.write(c, "waits")
		c.SetDeadline(past)
		pc.SetDeadline(past)
		n, err := c.Write([]byte("late"))
		m, errTo := pc.WriteTo([]byte("late"), c.LocalAddr())
		return []string{read(c, 10), readFrom(pc, 10, nil), outcome(n, err), outcome(m, errTo)}
	}},
	{"a deadline passes while a read waits, and another one lets it go on", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		pc.SetReadDeadline(time.Now().Add(time.Millisecond))
		seen := []string{readFrom(pc, 10, nil)}
		pc.SetReadDeadline(time.Time{})
		u.write(c, "more")
		return append(seen, readFrom(pc, 10, c.LocalAddr()))
	}},
	{"a read deadline does not concern writing, nor a write deadline reading", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		c.SetReadDeadline(past)
		pc.SetWriteDeadline(past)
		n, err := c.Write([]byte("there"))
		return []string{outcome(n, err), readFrom(pc, 10, c.LocalAddr())}
	}},
	{"a deadline that is set ends a read that waits", func(u *udpNet) []string {
		pc := u.server()
		done := make(chan string)
		go func() { done <- readFrom(pc, 10, nil) }()
		pc.SetReadDeadline(past)
		return []string{<-done}
	}},
	{"Close ends a read that waits, and all after it", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		done := make(chan string)
		go func() { done <- read(c, 10) }()
		closed := c.Close()
		n, err := c.Write([]byte("x"))
		return []string{
			<-done, outcome(0, closed), read(c, 10), outcome(n, err), outcome(0, c.Close()),
			outcome(0, c.SetDeadline(past)), outcome(0, c.SetReadDeadline(past)), outcome(0, c.SetWriteDeadline(past)),
		}
	}},
	{"a listener that is closed", func(u *udpNet) []string {
		pc := u.server()
		to := u.client(pc).LocalAddr()
		pc.Close()
		n, err := pc.WriteTo([]byte("x"), to)
		return []string{readFrom(pc, 10, nil), outcome(n, err), outcome(0, pc.Close()), outcome(0, pc.SetDeadline(past))}
	}},
	{"both ends know each other's addresses", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		_, local := c.LocalAddr().(*net.UDPAddr)
		_, remote := c.RemoteAddr().(*net.UDPAddr)
		_, listens := pc.LocalAddr().(*net.UDPAddr)
		return []string{
			fmt.Sprint(local, remote, listens), c.LocalAddr().Network(), pc.LocalAddr().Network(),
			fmt.Sprint(c.RemoteAddr().String() == pc.LocalAddr().String()),
			fmt.Sprint(pc.LocalAddr().(*net.UDPAddr).AddrPort().Addr() == u.host, pc.LocalAddr().(*net.UDPAddr).Port != 0),
		}
	}},
	{"a connection has its address and takes no other", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc).(net.PacketConn)
		n, err := c.WriteTo([]byte("x"), pc.LocalAddr())
		return []string{outcome(n, err)}
	}},
	{"a listener has no address to write to", func(u *udpNet) []string {
		pc := u.server().(net.Conn)
		n, err := pc.Write([]byte("x"))
		return []string{outcome(n, err), fmt.Sprint(pc.RemoteAddr() == nil)}
	}},
	{"what is no address of UDP", func(u *udpNet) (seen []string) {
		pc := u.server()
		for _, addr := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.TCPAddr{IP: u.host.AsSlice(), Port: 1}, &net.UDPAddr{}} {
			n, err := pc.WriteTo([]byte("x"), addr)
			seen = append(seen, fmt.Sprint(n, err != nil))
		}
		return seen
	}},
	{"an address of the other family", func(u *udpNet) []string {
		other := &net.UDPAddr{IP: net.IPv6loopback, Port: 9}
		if u.network == "udp6" {
			other = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
		}
		n, err := u.server().WriteTo([]byte("x"), other)
		return []string{fmt.Sprint(n, err != nil)}
	}},
	{"a port that is taken, and is free again", func(u *udpNet) []string {
		pc := u.server()
		_, err := u.listen(u.network, pc.LocalAddr().String())
		seen := []string{outcome(0, err)}
		pc.Close()
		again, err := u.listen(u.network, pc.LocalAddr().String())
		if err == nil {
			again.Close()
		}
		return append(seen, outcome(0, err))
	}},
	{"an address that is not one's own", func(u *udpNet) []string {
		stranger := "192.0.2.1:0"
		if u.network == "udp6" {
			stranger = "[2001:db8::1]:0"
		}
		_, err := u.listen(u.network, stranger)
		return []string{outcome(0, err)}
	}},
	{"arguments that make no sense", func(u *udpNet) (seen []string) {
		for _, args := range [][2]string{{"udp5", u.at(1)}, {u.network, u.host.String()}, {u.network, ""}, {u.network, u.at(1) + "000000"}} {
			_, errDial := u.dial(args[0], args[1])
			_, errListen := u.listen(args[0], args[1])
			var dial, listen *net.OpError
			seen = append(seen, fmt.Sprint(errors.As(errDial, &dial) && dial.Op == "dial", errors.As(errListen, &listen) && listen.Op == "listen"))
		}
		return seen
	}},
	{"a connection does not hear strangers", func(u *udpNet) []string {
		pc, stranger := u.server(), u.server()
		c := u.client(pc)
		n, err := stranger.WriteTo([]byte("psst"), c.LocalAddr())
		m, errTrue := pc.WriteTo([]byte("hello"), c.LocalAddr())
		return []string{outcome(n, err), outcome(m, errTrue), read(c, 10)}
	}},
	{"a connection to nobody is told, and goes on when somebody comes", func(u *udpNet) []string {
		pc := u.server()
		c := u.client(pc)
		pc.Close()
		u.write(c, "anybody?")
		seen := []string{read(c, 10)}
		again, err := u.listen(u.network, pc.LocalAddr().String())
		if err != nil {
			u.t.Fatal(err)
		}
		defer again.Close()
		again.SetDeadline(time.Now().Add(30 * time.Second))
		u.write(c, "now?")
		return append(seen, readFrom(again, 10, c.LocalAddr()))
	}},
	{"several read and write at once", func(u *udpNet) []string {
		const writers, each = 4, 25
		pc := u.server()
		c := u.client(pc)
		var all sync.WaitGroup
		got := make(chan string, writers*each)
		for w := range writers {
			all.Go(func() {
				for i := range each {
					if _, err := fmt.Fprintf(c, "%d %d", w, i); err != nil {
						u.t.Error(err)
					}
				}
			})
			all.Go(func() {
				for range each {
					got <- readFrom(pc, 10, c.LocalAddr())
				}
			})
		}
		all.Wait()
		close(got)
		different := make(map[string]bool)
		for text := range got {
			different[text] = true
		}
		return []string{fmt.Sprint(len(different), " different ones")}
	}},
}

// Each row comes to the same in the kernel and in a mesh.
func TestDatagramsKeepTheContract(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		for _, way := range ways {
			t.Run(way.name+" "+network, func(t *testing.T) {
				t.Parallel()
				kernel, mesh := kernelUDP(network)(t), way.udp(network)(t)
				for _, row := range datagramRows {
					t.Run(row.what, func(t *testing.T) {
						kernel.t, mesh.t = t, t
						want, got := row.do(kernel), row.do(mesh)
						if len(got) != len(want) {
							t.Fatalf("the mesh says %q, the kernel %q", got, want)
						}
						for i := range want {
							if got[i] != want[i] {
								t.Errorf("%d: the mesh says %q, the kernel %q", i, got[i], want[i])
							}
						}
					})
				}
			})
		}
	}
}
