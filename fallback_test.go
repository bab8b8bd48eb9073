package meshnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestFallbackHandlers(t *testing.T) {
	m := newMesh(t, nil)
	b := m.server("b")
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			defer c.Close()
			who := "nobody"
			if peer, err := PeerOf(c); err == nil {
				who = peer.Node.Name
			}
			buf := make([]byte, 100)
			n, _ := c.Read(buf)
			fmt.Fprintf(c, "%s to %s: %s", text, who, buf[:n])
			c.Read(buf)
		}
	}
	// Before the start, and in the order of asking.
	b.RegisterFallbackTCPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) { return nil, dst.Port() == 1 })
	first := b.RegisterFallbackTCPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) {
		return say("first"), dst.Port() == 2
	})
	m.start(b)
	a := m.up("a")
	ip4, ip6 := b.IPs()
	b.RegisterFallbackTCPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) {
		self, _ := a.IPs()
		if src.Addr() != self && src.Addr().Is4() {
			t.Errorf("the connection is from %v, not %v", src, self)
		}
		return say("last"), true
	})
	deregister := b.RegisterFallbackUDPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) {
		return say("datagram"), dst.Port() == 53
	})
	echo(t, b, "tcp")
	echo(t, b, "udp")
	for _, tt := range []struct {
		network string
		to      netip.AddrPort
		want    string
	}{
		{"tcp", netip.AddrPortFrom(ip4, 2), "first to a.mesh.internal: hello"},
		{"tcp", netip.AddrPortFrom(ip6, 2), "first to a.mesh.internal: hello"},
		{"tcp", netip.AddrPortFrom(ip4, 3), "last to a.mesh.internal: hello"},
		{"tcp", netip.AddrPortFrom(ip4, 7), "hello"}, // a listener comes before
		{"udp", netip.AddrPortFrom(ip4, 7), "hello"},
		{"udp", netip.AddrPortFrom(ip4, 53), "datagram to a.mesh.internal: hello"},
		{"udp", netip.AddrPortFrom(ip6, 53), "datagram to a.mesh.internal: hello"},
	} {
		if got := answer(t, a, tt.network, tt.to.String(), "hello"); got != tt.want {
			t.Errorf("%s %v answers %q, want %q", tt.network, tt.to, got, tt.want)
		}
	}
	refused := func(network string, port uint16) {
		t.Helper()
		conn, err := a.Dial(testCtx(t), network, netip.AddrPortFrom(ip4, port).String())
		if err == nil {
			io.WriteString(conn, "hello")
			_, err = conn.Read(make([]byte, 9))
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s to port %d: %v", network, port, err)
		}
	}
	refused("tcp", 1)
	refused("udp", 54)
	deregister()
	deregister()
	refused("udp", 53)
	first()
	if got := answer(t, a, "tcp", netip.AddrPortFrom(ip4, 2).String(), "hello"); got != "last to a.mesh.internal: hello" {
		t.Errorf("after the handler is gone: %q", got)
	}
}
