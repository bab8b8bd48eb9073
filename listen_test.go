package meshnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

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
		{"an address of the other IP version", "tcp4", "[fd7a:115c:a1e0::1]:81", anyError},
		{"no port", "tcp", "100.64.0.1", anyError},
		{"somebody else's address", "tcp", "100.64.9.9:80", anyError},
		{"a name", "tcp", "node:80", anyError},
		{"UDP", "udp", ":80", anyError},
	} {
		ln, err := s.Listen(tt.network, tt.addr)
		op, ok := err.(*net.OpError)
		if !ok || op.Op != "listen" || op.Net != tt.network || !tt.check(err) {
			t.Errorf("%s: %#v", tt.why, err)
		}
		if ln != nil {
			t.Errorf("%s: a listener comes with the error", tt.why)
		}
	}
}

// TestListenAddresses tries each kind of listen address on both IP versions,
// for TCP and UDP.
func TestListenAddresses(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	b4, b6 := b.IPs()
	for _, tt := range []struct {
		version, addr string
		on4, on6      bool
	}{
		{"", ":0", true, true},
		{"", "[::]:0", true, true},
		{"", "0.0.0.0:0", true, true}, // as with package net
		{"4", ":0", true, false},
		{"4", "0.0.0.0:0", true, false},
		{"6", ":0", false, true},
		{"6", "[::]:0", false, true},
		{"", b4.String() + ":0", true, false},
		{"4", b4.String() + ":0", true, false},
		{"", "[" + b6.String() + "]:0", false, true},
		{"6", "[" + b6.String() + "]:0", false, true},
	} {
		for ip, reached := range map[netip.Addr]bool{b4: tt.on4, b6: tt.on6} {
			if err := tcpReaches(t, a, b, "tcp"+tt.version, tt.addr, ip); (err == nil) != reached || !reached && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("tcp%s %s, dialled at %v: %v", tt.version, tt.addr, ip, err)
			}
			if reached {
				udpReaches(t, a, b, "udp"+tt.version, tt.addr, ip)
			}
		}
	}
}

// tcpReaches listens on b and dials ip from a.
func tcpReaches(t *testing.T, a, b *Server, network, addr string, ip netip.Addr) error {
	t.Helper()
	ln, err := b.Listen(network, addr)
	if err != nil {
		t.Fatalf("%s %s: %v", network, addr, err)
	}
	defer ln.Close()
	at := netip.MustParseAddrPort(ln.Addr().String())
	conn, err := a.Dial(testCtx(t), "tcp", netip.AddrPortFrom(ip, at.Port()).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	accepted, err := ln.Accept()
	if err != nil {
		return err
	}
	return accepted.Close()
}

// udpReaches listens on b, and has a connection of a, which takes datagrams
// from ip alone, get its answer.
func udpReaches(t *testing.T, a, b *Server, network, addr string, ip netip.Addr) {
	t.Helper()
	pc, err := b.ListenPacket(network, addr)
	if err != nil {
		t.Fatalf("%s %s: %v", network, addr, err)
	}
	defer pc.Close()
	at := netip.MustParseAddrPort(pc.LocalAddr().String())
	conn, err := a.Dial(testCtx(t), "udp", netip.AddrPortFrom(ip, at.Port()).String())
	if err != nil {
		t.Fatalf("%s %s: %v", network, addr, err)
	}
	defer conn.Close()
	deadline, _ := testCtx(t).Deadline()
	conn.SetDeadline(deadline)
	pc.SetDeadline(deadline)
	buf := make([]byte, 100)
	io.WriteString(conn, "question")
	_, from, err := pc.ReadFrom(buf)
	if err != nil || from.String() != conn.LocalAddr().String() {
		t.Errorf("%s %s: the question to %v comes from %v, %v", network, addr, ip, from, err)
		return
	}
	pc.WriteTo([]byte("answer"), from)
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "answer" {
		t.Errorf("%s %s: the answer from %v is %q, %v", network, addr, ip, buf[:n], err)
	}
}

// TestSlowAcceptDisturbsNobody has a listener that nobody accepts from.
func TestSlowAcceptDisturbsNobody(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	slow, err := b.Listen("tcp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, b, "tcp")
	for range 20 {
		conn, err := a.Dial(testCtx(t), "tcp", "b:8")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	for range 20 { // they have waited
		accepted, err := slow.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted.Close()
	}
	slow.Close()
	if err := slow.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing a listener twice: %v", err)
	}
	if _, err := slow.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on a closed listener: %v", err)
	}
}

// TestDatagramsOfEverySize: the tunnel is 1280 bytes wide, QUIC's first packet
// may be larger than what fits in, and so may any other.
func TestDatagramsOfEverySize(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	pc, err := b.ListenPacket("udp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	deadline, _ := testCtx(t).Deadline()
	pc.SetDeadline(deadline)
	got := make([]byte, 1<<16)
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := a.Dial(testCtx(t), network, "b:443")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, size := range []int{0, 1, 1200, 1232, 1252, 1280, 1452, 9000, 65507} {
			want := bytes.Repeat([]byte{byte(size)}, size)
			if _, err := conn.Write(want); err != nil {
				t.Fatalf("%s, %d bytes: %v", network, size, err)
			}
			if n, _, err := pc.ReadFrom(got); err != nil || !bytes.Equal(got[:n], want) {
				t.Fatalf("%s: %d bytes arrive of %d, %v", network, n, size, err)
			}
		}
	}
}
