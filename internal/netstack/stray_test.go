package netstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var (
	behind4 = netip.MustParseAddr("192.168.1.7") // addresses behind router
	behind6 = netip.MustParseAddr("2001:db8::7")
)

// newRouter returns a stack, and another that takes what the first sends to
// whomever.
func newRouter(t testing.TB) (client, router *Stack) {
	t.Helper()
	client = newStack(t, a4, a6)
	router, err := New(Config{Transit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { router.Close() })
	if err := router.SetAddrs([]netip.Addr{b4, b6}); err != nil {
		t.Fatal(err)
	}
	join(t, client, router)
	return client, router
}

// each runs handle for every stray of s until that is closed.
func each(t testing.TB, s *Stack, handle func(*Stray)) {
	var running sync.WaitGroup
	running.Go(func() {
		for {
			stray, err := s.AcceptStray()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("AcceptStray: %v", err)
				}
				return
			}
			running.Go(func() { handle(stray) })
		}
	})
	t.Cleanup(func() {
		s.Close()
		running.Wait()
	})
}

func TestStrayConnections(t *testing.T) {
	client, router := newRouter(t)
	router.TakeStrays(true, true, true)
	each(t, router, func(s *Stray) {
		c, err := s.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		defer c.Close()
		if c.LocalAddr().String() != s.Dst.String() || c.RemoteAddr().String() != s.Src.String() || c.LocalAddr().Network() != s.Network {
			t.Errorf("a stray from %v to %v is a connection from %v to %v", s.Src, s.Dst, c.RemoteAddr(), c.LocalAddr())
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil {
			t.Errorf("Read: %v", err)
		}
		fmt.Fprintf(c, "%s for %v", buf[:n], s.Dst)
		c.Read(buf) // until the other side closes, in TCP
	})
	for _, ip := range []netip.Addr{behind4, behind6, b4, b6} {
		to := netip.AddrPortFrom(ip, 80)
		for name, dial := range map[string]func(context.Context, string, netip.Addr, netip.AddrPort) (net.Conn, error){
			"tcp": client.DialTCP, "udp": client.DialUDP,
		} {
			c, err := dial(within(t), name, netip.Addr{}, to)
			if err != nil {
				t.Errorf("%s to %v: %v", name, to, err)
				continue
			}
			io.WriteString(c, "hello")
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			if got, want := string(buf[:n]), fmt.Sprintf("hello for %v", to); err != nil || got != want {
				t.Errorf("%s to %v: the answer is %q, %v", name, to, got, err)
			}
			c.Close()
		}
	}
}

// Listeners on all addresses are on ours, and on no others that come by.
func TestListenersAreNotOnAddressesOfOthers(t *testing.T) {
	client, router := newRouter(t)
	l := mustListen(t, router, "tcp", "0.0.0.0:80")
	pc, err := router.ListenUDP("udp", netip.MustParseAddrPort("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []netip.Addr{behind4, behind6} {
		if c, err := client.DialTCP(within(t), "tcp", netip.Addr{}, netip.AddrPortFrom(ip, 80)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling %v: %v, %v", ip, c, err)
		}
		c, err := client.DialUDP(within(t), "udp", netip.Addr{}, netip.AddrPortFrom(ip, 80))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "hello")
		if n, err := c.Read(make([]byte, 9)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("an answer from %v: %d bytes, %v", ip, n, err)
		}
		c.Close()
	}
	mustDial(t, client, netip.AddrPortFrom(b4, 80))
	if c, err := l.Accept(); err != nil || c.LocalAddr().String() != "100.64.0.2:80" {
		t.Errorf("Accept: %v, %v", c, err)
	}
	pc.Close()
}

func TestRejectedStrays(t *testing.T) {
	client, router := newRouter(t)
	router.TakeStrays(true, true, true)
	each(t, router, (*Stray).Reject)
	for _, ip := range []netip.Addr{behind4, behind6, b4, b6} {
		to := netip.AddrPortFrom(ip, 80)
		if _, err := client.DialTCP(within(t), "tcp", netip.Addr{}, to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling %v: %v", to, err)
		}
		c, err := client.DialUDP(within(t), "udp", netip.Addr{}, to)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "hello")
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a datagram to %v: %v", to, err)
		}
		c.Close()
	}
}

func TestStrayIsSettledOnce(t *testing.T) {
	client, router := newRouter(t)
	router.TakeStrays(true, false, false)
	settled := make(chan error, 1)
	each(t, router, func(s *Stray) {
		s.Reject()
		s.Reject()
		_, err := s.Accept()
		settled <- err
	})
	client.DialTCP(within(t), "tcp", netip.Addr{}, netip.AddrPortFrom(behind4, 80))
	if err := <-settled; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Reject: %v", err)
	}
}

// echoRequest4 and echoRequest6 are what ping sends.
func echoRequest4(to netip.Addr, data string) []byte {
	packet := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize+len(data))
	header.IPv4(packet).Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet)), TTL: 9, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: toTCPIP(a4), DstAddr: toTCPIP(to),
	})
	m := header.ICMPv4(packet[header.IPv4MinimumSize:])
	m.SetType(header.ICMPv4Echo)
	m.SetIdent(7)
	copy(m.Payload(), data)
	m.SetChecksum(^checksum.Checksum(m, 0))
	return packet
}

func echoRequest6(to netip.Addr, data string) []byte {
	packet := make([]byte, header.IPv6MinimumSize+header.ICMPv6MinimumSize+len(data))
	header.IPv6(packet).Encode(&header.IPv6Fields{
		PayloadLength: uint16(header.ICMPv6MinimumSize + len(data)), HopLimit: 9, TransportProtocol: header.ICMPv6ProtocolNumber,
		SrcAddr: toTCPIP(a6), DstAddr: toTCPIP(to),
	})
	m := header.ICMPv6(packet[header.IPv6MinimumSize:])
	m.SetType(header.ICMPv6EchoRequest)
	m.SetIdent(7)
	copy(m.Payload(), data)
	return packet
}

// give puts packets into a stack that no wire leads to.
func give(t testing.TB, s *Stack, packets ...[]byte) {
	t.Helper()
	if _, err := s.Tun().Write(packets, 0); err != nil {
		t.Fatal(err)
	}
}

func newAlone(t testing.TB) *Stack {
	t.Helper()
	s, err := New(Config{Transit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.SetAddrs([]netip.Addr{b4, b6}); err != nil {
		t.Fatal(err)
	}
	s.TakeStrays(true, true, true)
	return s
}

// next returns the next packet that leaves s.
func next(t testing.TB, s *Stack) []byte {
	t.Helper()
	bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
	if _, err := s.Tun().Read(bufs, sizes, 0); err != nil {
		t.Fatal(err)
	}
	return bufs[0][:sizes[0]]
}

func TestEchoRequestsToOthersAreStrays(t *testing.T) {
	s := newAlone(t)
	give(t, s, echoRequest4(behind4, "four"), echoRequest6(behind6, "six"))
	for range 2 {
		stray, err := s.AcceptStray()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := stray.Accept(); c != nil || err != nil {
			t.Errorf("Accept: %v, %v", c, err)
		}
		answer := next(t, s)
		if stray.Dst.Addr() == behind4 {
			ip := header.IPv4(answer)
			m := header.ICMPv4(ip.Payload())
			if fromTCPIP(ip.SourceAddress()) != behind4 || fromTCPIP(ip.DestinationAddress()) != a4 || !ip.IsChecksumValid() ||
				m.Type() != header.ICMPv4EchoReply || m.Ident() != 7 || string(m.Payload()) != "four" || checksum.Checksum(m, 0) != 0xffff {
				t.Errorf("the answer is %x", answer)
			}
			continue
		}
		ip := header.IPv6(answer)
		m := header.ICMPv6(ip.Payload())
		sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, toTCPIP(behind6), toTCPIP(a6), uint16(len(m)))
		if fromTCPIP(ip.SourceAddress()) != behind6 || fromTCPIP(ip.DestinationAddress()) != a6 || stray.Dst.Addr() != behind6 ||
			m.Type() != header.ICMPv6EchoReply || m.Ident() != 7 || string(m.Payload()) != "six" || checksum.Checksum(m, sum) != 0xffff {
			t.Errorf("the answer is %x", answer)
		}
	}
	// Our own addresses answer by themselves.
	give(t, s, echoRequest4(b4, "us"))
	if got := header.IPv4(next(t, s)); fromTCPIP(got.SourceAddress()) != b4 {
		t.Errorf("our own answer is %x", got)
	}
}

// Whoever opens many connections and answers nothing is stopped, and keeps
// nobody else out.
func TestStraysAreBounded(t *testing.T) {
	s := newAlone(t)
	syn := func(from netip.Addr, port int) []byte {
		p := tcpPacket(netip.AddrPortFrom(from, uint16(port)), netip.AddrPortFrom(behind4, 80), header.TCPFlagSyn)
		return p
	}
	var strays []*Stray
	accept := func(from netip.Addr, port int) bool {
		give(t, s, syn(from, port))
		for {
			select {
			case stray := <-s.strays.queue:
				strays = append(strays, stray)
				return true
			default:
			}
			s.strays.mu.Lock()
			full := s.strays.full(from)
			s.strays.mu.Unlock()
			if full {
				return false
			}
			runtime.Gosched() // until gVisor's goroutine has run
		}
	}
	n := 0
	for accept(a4, 1000+n) {
		n++
	}
	// The last one may be in the queue when the place is taken.
	if n < maxStraysOf-1 || n > maxStraysOf {
		t.Errorf("one source has %d strays", n)
	}
	before := runtime.NumGoroutine()
	for port := range 5000 {
		give(t, s, syn(a4, 10_000+port))
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("SYNs beyond the limit leave %d goroutines behind", after-before)
	}
	if !accept(netip.MustParseAddr("100.64.0.9"), 1) {
		t.Error("another source is kept out")
	}
	for _, stray := range strays {
		stray.Reject()
	}
	for len(s.strays.queue) > 0 {
		(<-s.strays.queue).Reject()
	}
	s.strays.mu.Lock()
	defer s.strays.mu.Unlock()
	if s.strays.places != 0 || len(s.strays.bySource) != 0 {
		t.Errorf("%d places stay taken", s.strays.places)
	}
}

// Close does not wait for peers who do not answer.
func TestCloseWhileStraysWait(t *testing.T) {
	s := newAlone(t)
	give(t, s, tcpPacket(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(behind4, 80), header.TCPFlagSyn))
	stray, err := s.AcceptStray()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := stray.Accept()
		accepted <- err
	}()
	next(t, s) // our SYN, and no answer comes
	s.Close()
	if err := <-accepted; err == nil {
		t.Error("a connection of a closed stack is accepted")
	}
	if _, err := s.AcceptStray(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("AcceptStray: %v", err)
	}
}

func TestStrayFlowHasDeadlinesAndPlaces(t *testing.T) {
	client, router := newRouter(t)
	router.TakeStrays(false, true, false)
	c, err := client.DialUDP(within(t), "udp", netip.Addr{}, netip.AddrPortFrom(behind4, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range []string{"first", "second"} { // another flow of the same ports
		io.WriteString(c, text)
		stray, err := router.AcceptStray()
		if err != nil {
			t.Fatal(err)
		}
		flow, err := stray.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := flow.Read(buf); err != nil || string(buf[:n]) != text {
			t.Errorf("the first datagram is %q, %v", buf[:n], err)
		}
		flow.SetReadDeadline(time.Unix(1, 0))
		if _, err := flow.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
		flow.Close()
		if router.strays.places != 0 {
			t.Error("a closed flow keeps its place")
		}
	}
}

// tcpPacket returns a packet without data.
func tcpPacket(from, to netip.AddrPort, flags header.TCPFlags) []byte {
	packet := make([]byte, header.IPv4MinimumSize+header.TCPMinimumSize)
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet)), TTL: 9, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: toTCPIP(from.Addr()), DstAddr: toTCPIP(to.Addr()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.TCP(ip.Payload()).Encode(&header.TCPFields{SrcPort: from.Port(), DstPort: to.Port(), DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 1000})
	return packet
}

// Whatever comes for others, the stack survives it, and answers nothing in
// their names but what it was told to.
func FuzzTransit(f *testing.F) {
	f.Add(echoRequest4(behind4, "data"))
	f.Add(echoRequest6(behind6, "data"))
	f.Add(tcpPacket(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(behind4, 80), header.TCPFlagSyn))
	f.Add([]byte{0x45})
	f.Add(bytes.Repeat([]byte{0x60}, 48))
	s := newAlone(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		give(t, s, bytes.Clone(packet))
		for len(s.strays.queue) > 0 {
			stray := <-s.strays.queue
			if stray.Network == NetworkPing {
				stray.Accept()
			}
			stray.Reject()
		}
		for s.link.queue.take(false) != nil {
		}
	})
}
