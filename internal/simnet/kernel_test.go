package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A machine is what the tests of this file run on: the kernel's loopback, or a
// host of ours dialing itself.
type machine interface {
	ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error)
	Listen(ctx context.Context, network, addr string) (net.Listener, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

type kernel struct {
	net.ListenConfig
	net.Dialer
}

func (k *kernel) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return k.Dialer.DialContext(ctx, network, addr)
}

// shape is what programs decide on in an error.
func shape(err error) string {
	if err == nil || err == io.EOF {
		return fmt.Sprint(err)
	}
	var words []string
	var op *net.OpError
	if errors.As(err, &op) {
		words = append(words, "op="+op.Op, fmt.Sprint("source=", op.Source != nil), fmt.Sprint("addr=", op.Addr != nil))
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		words = append(words, "call")
	}
	for _, known := range []error{
		net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
		syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EINVAL, syscall.EMSGSIZE, syscall.EPIPE,
	} {
		if errors.Is(err, known) {
			words = append(words, known.Error())
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		words = append(words, "timeout")
	}
	var addr *net.AddrError
	if errors.As(err, &addr) {
		words = append(words, "AddrError")
	}
	return strings.Join(words, " ")
}

// TestLikeTheKernel runs the same steps on the kernel and on a host of ours,
// and compares what they say.
func TestLikeTheKernel(t *testing.T) {
	for name, steps := range map[string]func(t *testing.T, m machine, say func(...any)){
		"datagrams":                  datagramSteps,
		"sockets that cannot be":     bindSteps,
		"deadlines of datagrams":     datagramDeadlineSteps,
		"half-closed streams":        halfCloseSteps,
		"streams that end":           endSteps,
		"streams that are reset":     resetSteps,
		"dials that fail":            dialSteps,
		"a listener":                 listenerSteps,
		"addresses of stream's ends": streamAddrSteps,
	} {
		t.Run(name, func(t *testing.T) {
			on := func(m machine) (said []string) {
				steps(t, m, func(words ...any) {
					for i, word := range words {
						if err, ok := word.(error); ok {
							words[i] = shape(err)
						}
					}
					said = append(said, fmt.Sprintln(words...))
				})
				return said
			}
			want, got := on(new(kernel)), on(newNet(t).Host())
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i] != got[i] {
					t.Fatalf("step %d:\n the kernel says %q\n and we say     %q", i, slices.Concat(want, []string{"nothing"})[i], slices.Concat(got, []string{"nothing"})[i])
				}
			}
		})
	}
}

// closeLater closes c when the test ends.
func closeLater[C io.Closer](t *testing.T, c C, err error) C {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func listenUDP(t *testing.T, m machine, network, addr string) net.PacketConn {
	t.Helper()
	pc, err := m.ListenPacket(t.Context(), network, addr)
	return closeLater(t, pc, err)
}

func datagramSteps(t *testing.T, m machine, say func(...any)) {
	a, b := listenUDP(t, m, "udp4", "127.0.0.1:0"), listenUDP(t, m, "udp4", "127.0.0.1:0")
	read := func(size int) {
		buf := make([]byte, size)
		n, from, err := b.ReadFrom(buf)
		say(string(buf[:n]), from.String() == a.LocalAddr().String(), err)
	}
	for _, what := range []string{"hello", "", "a second one"} {
		n, err := a.WriteTo([]byte(what), b.LocalAddr())
		say(n, err)
		read(100)
	}
	a.WriteTo([]byte("too long"), b.LocalAddr())
	a.WriteTo([]byte("next"), b.LocalAddr())
	read(3)
	read(100)

	n, err := a.WriteTo(make([]byte, 65507), b.LocalAddr())
	say(n, err)
	n, _, err = b.ReadFrom(make([]byte, 1<<16))
	say(n, err)
	say(a.WriteTo(make([]byte, 65508), b.LocalAddr()))
	say(a.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	say(a.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: 9}))
	say(a.WriteTo([]byte("x"), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}))

	to := b.LocalAddr().(*net.UDPAddr).AddrPort()
	say(a.(addrPortConn).WriteToUDPAddrPort([]byte("without allocating"), to))
	buf := make([]byte, 100)
	n, from, err := b.(addrPortConn).ReadFromUDPAddrPort(buf)
	say(string(buf[:n]), from.Port() == a.LocalAddr().(*net.UDPAddr).AddrPort().Port(), err)
	say(a.WriteTo([]byte("to all"), &net.UDPAddr{IP: net.IPv4zero, Port: int(to.Port())}))
	read(100)

	say(b.Close(), b.Close())
	_, _, err = b.ReadFrom(buf)
	say(err)
	say(b.WriteTo([]byte("x"), a.LocalAddr()))
	say(b.SetDeadline(time.Time{}) != nil)
}

func bindSteps(t *testing.T, m machine, say func(...any)) {
	taken := listenUDP(t, m, "udp4", "127.0.0.1:0").LocalAddr().(*net.UDPAddr).AddrPort()
	try := func(network string, addr netip.AddrPort) {
		pc, err := m.ListenPacket(t.Context(), network, addr.String())
		say(network, err)
		if err == nil {
			say(pc.LocalAddr().(*net.UDPAddr).IP)
			pc.Close()
		}
	}
	port := func(addr string) netip.AddrPort { return netip.AddrPortFrom(ip(addr), taken.Port()) }
	try("udp4", taken)
	try("udp4", port("0.0.0.0"))
	try("udp", port("::"))
	try("udp6", port("::1"))
	try("udp6", port("::"))
	try("udp4", port("127.0.0.2"))
	try("udp", ipPort("0.0.0.0:0"))
	try("udp4", ipPort("0.0.0.0:0"))
	try("udp", ipPort("[::]:0"))
	try("udp4", ipPort("[::1]:0"))
	try("udp6", ipPort("127.0.0.1:0"))
	try("udp4", ipPort("192.0.2.1:0"))
	_, err := m.ListenPacket(t.Context(), "udp", "127.0.0.1")
	say(err)
	_, err = m.Listen(t.Context(), "tcp", "127.0.0.1:port")
	say(err != nil)
}

func datagramDeadlineSteps(t *testing.T, m machine, say func(...any)) {
	a, b := listenUDP(t, m, "udp4", "127.0.0.1:0"), listenUDP(t, m, "udp4", "127.0.0.1:0")
	buf := make([]byte, 100)
	b.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _, err := b.ReadFrom(buf)
	say(err)
	a.WriteTo([]byte("late"), b.LocalAddr())
	_, _, err = b.ReadFrom(buf)
	say("a deadline that has passed stays", err)
	b.SetReadDeadline(time.Time{})
	n, _, err := b.ReadFrom(buf)
	say(string(buf[:n]), err)

	b.SetWriteDeadline(time.Now().Add(-time.Second))
	_, err = b.WriteTo([]byte("x"), a.LocalAddr())
	say(err)
	b.SetWriteDeadline(time.Time{})
	_, err = b.WriteTo([]byte("x"), a.LocalAddr())
	say(err)

	read := make(chan error)
	go func() {
		_, _, err := b.ReadFrom(buf)
		read <- err
	}()
	b.SetReadDeadline(time.Now().Add(-time.Second))
	say("moved while it waits", <-read)
}

// streamPair returns both ends of a connection.
func streamPair(t *testing.T, m machine) (dialed, accepted net.Conn) {
	t.Helper()
	ln, err := m.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	closeLater(t, ln, err)
	dialed, err = m.DialContext(t.Context(), "tcp", ln.Addr().String())
	closeLater(t, dialed, err)
	accepted, err = ln.Accept()
	return dialed, closeLater(t, accepted, err)
}

type closeWriter interface{ CloseWrite() error }

func halfCloseSteps(t *testing.T, m machine, say func(...any)) {
	a, b := streamPair(t, m)
	say(a.Write([]byte("question")))
	say(a.(closeWriter).CloseWrite())
	_, err := a.Write([]byte("more"))
	say(err)
	got, err := io.ReadAll(b)
	say(string(got), err)
	say(b.Write([]byte("answer")))
	say(b.Close())
	got, err = io.ReadAll(a)
	say(string(got), err)
	say(a.Close(), a.Close(), a.(closeWriter).CloseWrite())
}

func endSteps(t *testing.T, m machine, say func(...any)) {
	a, b := streamPair(t, m)
	say(a.Write(nil))
	a.Write([]byte("the last words"))
	a.Close()
	_, err := a.Write([]byte("x"))
	say(err)
	_, err = a.Read(make([]byte, 1))
	say(err)
	say(a.SetDeadline(time.Time{}) != nil)
	got, err := io.ReadAll(b)
	say(string(got), err)
	for err = nil; err == nil; {
		_, err = b.Write([]byte("into the void"))
	}
	say(errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET))
	_, err = b.Read(make([]byte, 1))
	say(err)

	a, _ = streamPair(t, m)
	read := make(chan error)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	a.Close()
	say("closed while it reads", <-read)
	a, _ = streamPair(t, m)
	a.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = a.Read(make([]byte, 1))
	say(err)
	a.SetWriteDeadline(time.Now().Add(-time.Second))
	_, err = a.Write([]byte("x"))
	say(err)
}

func resetSteps(t *testing.T, m machine, say func(...any)) {
	a, b := streamPair(t, m)
	say(a.(interface{ SetLinger(int) error }).SetLinger(0))
	say(a.Close())
	_, err := b.Read(make([]byte, 1))
	say(err)
}

func dialSteps(t *testing.T, m machine, say func(...any)) {
	ln, err := m.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	closeLater(t, ln, err).Close()
	_, err = m.DialContext(t.Context(), "tcp", ln.Addr().String())
	say(err)
	_, err = m.DialContext(t.Context(), "tcp6", ln.Addr().String())
	say(err)
	_, err = m.DialContext(t.Context(), "tcpip", ln.Addr().String())
	say(err != nil)
	_, err = m.DialContext(t.Context(), "tcp", "127.0.0.1")
	say(err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.DialContext(ctx, "tcp", ln.Addr().String())
	say(err)
}

func listenerSteps(t *testing.T, m machine, say func(...any)) {
	listen := func(network, addr string) (net.Listener, error) { return m.Listen(t.Context(), network, addr) }
	ln, err := listen("tcp4", "127.0.0.1:0")
	closeLater(t, ln, err)
	_, err = listen("tcp4", ln.Addr().String())
	say(err)
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(time.Millisecond))
	_, err = ln.Accept()
	say(err)
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})
	accepted := make(chan error)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	say(ln.Close())
	say("closed while it accepts", <-accepted, ln.Close())
	again, err := listen("tcp4", ln.Addr().String())
	say("the port is free again", err)
	closeLater(t, again, err)

	waiting, err := m.DialContext(t.Context(), "tcp4", again.Addr().String())
	closeLater(t, waiting, err)
	again.Close()
	_, err = waiting.Read(make([]byte, 1))
	say("nobody accepted", err)
}

func streamAddrSteps(t *testing.T, m machine, say func(...any)) {
	a, b := streamPair(t, m)
	say(a.LocalAddr().String() == b.RemoteAddr().String(), a.RemoteAddr().String() == b.LocalAddr().String())
	say(a.LocalAddr().Network(), a.LocalAddr().(*net.TCPAddr).IP)
}
