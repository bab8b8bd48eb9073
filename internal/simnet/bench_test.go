package simnet

import (
	"io"
	"net/netip"
	"testing"
	"time"
)

// addrPortConn is what the concrete type of ListenPacket has besides.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// benchmarkUDP sends datagrams from a to b and reads them, window by window.
func benchmarkUDP(b *testing.B, from, to *Host) {
	src, err := from.ListenPacket(b.Context(), "udp4", ":0")
	if err != nil {
		b.Fatal(err)
	}
	dst, err := to.ListenPacket(b.Context(), "udp4", ":7")
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.AddrPortFrom(to.Addrs()[0], 7)
	payload, buf := make([]byte, 1200), make([]byte, 1500)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	const window = 128
	for sent := 0; b.Loop(); sent++ {
		if _, err := src.(addrPortConn).WriteToUDPAddrPort(payload, addr); err != nil {
			b.Fatal(err)
		}
		if sent%window != window-1 {
			continue
		}
		for range window {
			if _, _, err := dst.(addrPortConn).ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

func BenchmarkUDP(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		n := New(1)
		defer n.Close()
		benchmarkUDP(b, n.Host(), n.Host())
	})
	b.Run("through a NAT", func(b *testing.B) {
		n := New(1)
		defer n.Close()
		benchmarkUDP(b, n.Router(RouterConfig{NAT: EasyNAT()}).Host(), n.Host())
	})
	b.Run("through a NAT with latency", func(b *testing.B) {
		n := New(1)
		defer n.Close()
		home, server := n.Router(RouterConfig{NAT: EasyNAT()}), n.Host()
		home.Link().Set(Quality{Latency: time.Microsecond})
		server.Link().Set(Quality{Latency: time.Microsecond})
		benchmarkUDP(b, home.Host(), server)
	})
}

// BenchmarkStream is one connection through a NAT, without latency.
func BenchmarkStream(b *testing.B) {
	n := New(1)
	defer n.Close()
	c1, c2, err := connect(b, n.Router(RouterConfig{NAT: EasyNAT()}).Host(), n.Host())
	if err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, c2)
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c1.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	c1.Close()
}
