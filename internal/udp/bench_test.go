package udp

import (
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
)

// The benchmarks carry batches of packets as WireGuard makes them, with an MTU
// of 1420 inside, over loopback, there and no further.
const benchBatch, benchSize = 128, 1452

// BenchmarkConn is a Conn in every way in which it may work here.
func BenchmarkConn(b *testing.B) {
	for name, kind := range kinds() {
		for what, sizes := range map[string][]int{
			"equal": repeat(benchSize, benchBatch),
			"mixed": alternating(benchBatch),
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				from, to := kind(listen(b, "udp4")), kind(listen(b, "udp4"))
				carry(b, from, to, packetsOf(sizes...))
			})
		}
	}
}

// alternating are sizes that cannot be joined.
func alternating(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = benchSize - n + i
	}
	return sizes
}

func carry(b *testing.B, from, to *Conn, packets [][]byte) {
	bufs, addr := newBuffers(128), to.LocalAddr()
	b.SetBytes(total(packets))
	b.ReportAllocs()
	for b.Loop() {
		if err := from.WriteBatch(packets, addr); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < len(packets); {
			n, err := to.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
	}
}

func total(packets [][]byte) (bytes int64) {
	for _, p := range packets {
		bytes += int64(len(p))
	}
	return bytes
}

// BenchmarkPacketConn is ReadFrom and WriteTo of package net.
func BenchmarkPacketConn(b *testing.B) {
	from, to := listen(b, "udp4"), listen(b, "udp4")
	enlargeBuffers(to)
	packets, buf := packetsOf(repeat(benchSize, benchBatch)...), make([]byte, 64<<10)
	b.SetBytes(total(packets))
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range packets {
			if _, err := from.WriteTo(p, to.LocalAddr()); err != nil {
				b.Fatal(err)
			}
		}
		for range packets {
			if _, _, err := to.ReadFrom(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkStdNetBind is what wireguard-go uses by itself. Its packets lie in
// buffers of 64 KiB, into which it copies those that it joins.
func BenchmarkStdNetBind(b *testing.B) {
	for what, sizes := range map[string][]int{
		"equal": repeat(benchSize, benchBatch),
		"mixed": alternating(benchBatch),
	} {
		b.Run(what, func(b *testing.B) { carryStd(b, packetsOf(sizes...)) })
	}
}

func carryStd(b *testing.B, packets [][]byte) {
	from, to := conn.NewStdNetBind(), conn.NewStdNetBind()
	if _, _, err := from.Open(0); err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	receive, port, err := to.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	endpoint, err := to.ParseEndpoint(addr.String())
	if err != nil {
		b.Fatal(err)
	}
	for i, p := range packets {
		packets[i] = append(make([]byte, 0, 64<<10), p...)
	}
	bufs, endpoints := newBuffers(to.BatchSize()), make([]conn.Endpoint, to.BatchSize())
	b.SetBytes(total(packets))
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Send(packets, endpoint); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < len(packets); {
			n, err := receive[0](bufs.packets, bufs.sizes, endpoints)
			if err != nil {
				b.Fatal(err)
			}
			for _, size := range bufs.sizes[:n] {
				if size > 0 { // it returns empty ones where it joined others
					got++
				}
			}
		}
	}
}

// TestNoMemoryPerPacket allows for the sync.Pool's occasional loss.
func TestNoMemoryPerPacket(t *testing.T) {
	for name, kind := range kinds() {
		if name == "plain, any conn" {
			continue // net.Addr is made anew each time
		}
		t.Run(name, func(t *testing.T) {
			from, to := kind(listen(t, "udp4")), kind(listen(t, "udp4"))
			packets, bufs, addr := packetsOf(repeat(500, 64)...), newBuffers(64), to.LocalAddr()
			allocs := testing.AllocsPerRun(50, func() {
				if err := from.WriteBatch(packets, addr); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < len(packets); {
					n, err := to.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
					if err != nil {
						t.Fatal(err)
					}
					got += n
				}
			})
			if allocs > 8 {
				t.Errorf("%v allocations for %d packets", allocs, len(packets))
			}
		})
	}
}
