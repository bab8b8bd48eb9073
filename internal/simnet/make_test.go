package simnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// newNet returns a network that is closed when the test ends.
func newNet(t testing.TB) *Network {
	n := New(1)
	t.Cleanup(func() { n.Close() })
	return n
}

func ip(s string) netip.Addr         { return netip.MustParseAddr(s) }
func ipPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func prefix(s string) netip.Prefix   { return netip.MustParsePrefix(s) }

// patience is how long a test waits for a datagram: less than NATs do.
const patience = 5 * time.Second

// A sock is a UDP socket whose steps fail the test, which runs on fake time.
type sock struct {
	t  testing.TB
	pc net.PacketConn
	// addr is the socket as its own network sees it: the host's first address.
	addr netip.AddrPort
}

// newSock opens a socket on all addresses and any port.
func newSock(t testing.TB, h *Host) *sock { return newSockOn(t, h, ":0") }

func newSockOn(t testing.TB, h *Host, addr string) *sock {
	t.Helper()
	pc, err := h.ListenPacket(t.Context(), "udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	s := &sock{t: t, pc: pc}
	if addrs := h.Addrs(); len(addrs) > 0 {
		s.addr = netip.AddrPortFrom(addrs[0], uint16(pc.LocalAddr().(*net.UDPAddr).Port))
	}
	return s
}

func (s *sock) send(to netip.AddrPort, what string) {
	s.t.Helper()
	if _, err := s.pc.(addrPortConn).WriteToUDPAddrPort([]byte(what), to); err != nil {
		s.t.Fatalf("send %q to %v: %v", what, to, err)
	}
}

// get returns the next datagram that comes within patience.
func (s *sock) get() (what string, from netip.AddrPort, ok bool) {
	s.t.Helper()
	s.pc.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 1<<16)
	n, from, err := s.pc.(addrPortConn).ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", from, false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n]), from, true
}

// want expects a datagram, and returns from where it seems to come.
func (s *sock) want(sentence, what string) netip.AddrPort {
	s.t.Helper()
	got, from, ok := s.get()
	if !ok || got != what {
		s.t.Fatalf("%s: got %q, want %q", sentence, got, what)
	}
	return from
}

// wantNothing expects that nothing comes.
func (s *sock) wantNothing(sentence string) {
	s.t.Helper()
	if got, from, ok := s.get(); ok {
		s.t.Fatalf("%s: got %q from %v", sentence, got, from)
	}
}

// reaches says whether a datagram to an address comes to the socket to.
func (s *sock) reaches(addr netip.AddrPort, to *sock) bool {
	s.t.Helper()
	s.send(addr, "reaches")
	_, _, ok := to.get()
	return ok
}

// connect returns both ends of a connection from a to b.
func connect(t testing.TB, a, b *Host) (dialed, accepted net.Conn, err error) {
	ln, err := b.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	to := netip.AddrPortFrom(b.Addrs()[0], ln.Addr().(*net.TCPAddr).AddrPort().Port())
	if dialed, err = a.DialContext(t.Context(), "tcp", to.String()); err != nil {
		return nil, nil, err
	}
	accepted, err = ln.Accept()
	return dialed, accepted, err
}

// mustConnect is connect for tests in which it works.
func mustConnect(t testing.TB, a, b *Host) (dialed, accepted net.Conn) {
	t.Helper()
	dialed, accepted, err := connect(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed, accepted
}
