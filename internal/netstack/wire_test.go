package netstack

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tun"
)

var (
	a4 = netip.MustParseAddr("100.64.0.1")
	a6 = netip.MustParseAddr("fd7a:115c:a1e0::1")
	b4 = netip.MustParseAddr("100.64.0.2")
	b6 = netip.MustParseAddr("fd7a:115c:a1e0::2")
)

// newPair returns two stacks whose devices are joined.
func newPair(t testing.TB) (a, b *Stack) {
	t.Helper()
	a, b = newStack(t, a4, a6), newStack(t, b4, b6)
	join(t, a, b)
	return a, b
}

func newStack(t testing.TB, addrs ...netip.Addr) *Stack {
	t.Helper()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.SetAddrs(addrs); err != nil {
		t.Fatal(err)
	}
	return s
}

// join carries packets between two stacks until they are closed.
func join(t testing.TB, a, b *Stack) {
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(a.Tun(), b.Tun()) })
	pumps.Go(func() { pump(b.Tun(), a.Tun()) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
}

// pump carries packets from one device to another, as WireGuard would: with
// room before each packet.
func pump(from, to tun.Device) {
	const offset = 16
	bufs := make([][]byte, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, offset+65535)
	}
	sizes := make([]int, len(bufs))
	batch := make([][]byte, 0, len(bufs))
	for {
		n, err := from.Read(bufs, sizes, offset)
		if err != nil {
			return
		}
		batch = batch[:0]
		for i := range n {
			batch = append(batch, bufs[i][:offset+sizes[i]])
		}
		to.Write(batch, offset) // an error means that it is closed: the packets are lost
	}
}

// within returns a context for what should take no time at all.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustListen(t testing.TB, s *Stack, network, addr string) net.Listener {
	t.Helper()
	where := netip.AddrPort{}
	if addr != "" {
		where = netip.MustParseAddrPort(addr)
	}
	l, err := s.ListenTCP(network, where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mustDial(t testing.TB, s *Stack, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := s.DialTCP(within(t), "tcp", netip.Addr{}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// connect returns the two ends of a TCP connection from one stack to addr on
// another.
func connect(t testing.TB, from, to *Stack, addr netip.Addr) (client, server net.Conn) {
	t.Helper()
	l := mustListen(t, to, "tcp", "")
	client = mustDial(t, from, netip.AddrPortFrom(addr, portOf(l.Addr())))
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func portOf(addr net.Addr) uint16 {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		panic(err)
	}
	return ap.Port()
}
