package netstack

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"golang.org/x/crypto/curve25519"
	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
)

// BenchmarkStream measures one TCP connection between two stacks whose devices
// are joined by goroutines, on paths of several MTUs.
func BenchmarkStream(b *testing.B) {
	onPaths(b, func(b *testing.B, s1, s2 *Stack) { join(b, s1, s2) })
}

// BenchmarkWireGuard measures one TCP connection between two stacks behind two
// wireguard-go devices on an in-memory network, on paths of several MTUs.
func BenchmarkWireGuard(b *testing.B) { onPaths(b, joinByWireGuard) }

func onPaths(b *testing.B, join func(*testing.B, *Stack, *Stack)) {
	for _, mtu := range []int{1280, 1440, 8896, 65472} {
		b.Run(strconv.Itoa(mtu), func(b *testing.B) {
			s1, s2 := newStack(b, a4, a6), newStack(b, b4, b6)
			s1.SetMTUs(raise(mtu, b4, b6))
			s2.SetMTUs(raise(mtu, a4, a6))
			join(b, s1, s2)
			stream(b, s1, s2)
		})
	}
}

func stream(b *testing.B, from, to *Stack) {
	for name, addr := range map[string]netip.Addr{"IPv4": b4, "IPv6": b6} {
		b.Run(name, func(b *testing.B) {
			l, err := to.ListenTCP("tcp", netip.AddrPort{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			client := mustDial(b, from, netip.AddrPortFrom(addr, portOf(l.Addr())))
			server, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			received := make(chan int64)
			go func() {
				n, _ := io.Copy(io.Discard, struct{ io.Reader }{server})
				received <- n
			}()
			chunk := make([]byte, 128<<10)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			client.(interface{ CloseWrite() error }).CloseWrite()
			if n := <-received; n%int64(len(chunk)) != 0 {
				b.Errorf("received %d bytes", n)
			}
		})
	}
}

// joinByWireGuard puts a wireguard-go device on each stack's.
func joinByWireGuard(b *testing.B, s1, s2 *Stack) {
	wires := [2]chan []byte{make(chan []byte, 4096), make(chan []byte, 4096)}
	keys := [2][32]byte{{0: 1 << 3, 31: 64}, {0: 2 << 3, 31: 64}}
	var devices [2]*wgdevice.Device
	for i, s := range []*Stack{s1, s2} {
		devices[i] = wgdevice.NewDevice(s.Tun(), &memBind{out: wires[i], in: wires[1-i]}, wgdevice.NewLogger(wgdevice.LogLevelError, ""))
		public, err := curve25519.X25519(keys[1-i][:], curve25519.Basepoint)
		if err != nil {
			b.Fatal(err)
		}
		if err := devices[i].IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\nendpoint=peer\n",
			hex.EncodeToString(keys[i][:]), hex.EncodeToString(public))); err != nil {
			b.Fatal(err)
		}
		if err := devices[i].Up(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(devices[i].Close)
	}
}

// A memBind is a conn.Bind with one peer, and channels for a network.
type memBind struct {
	in, out chan []byte
	closed  chan struct{}
}

func (m *memBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	m.closed = make(chan struct{})
	return []conn.ReceiveFunc{m.receive}, 1, nil
}

func (m *memBind) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (n int, err error) {
	select {
	case packet := <-m.in:
		for {
			sizes[n], eps[n] = copy(bufs[n], packet), memPeer{}
			n++
			if n == len(bufs) {
				return n, nil
			}
			select {
			case packet = <-m.in:
			default:
				return n, nil
			}
		}
	case <-m.closed:
		return 0, net.ErrClosed
	}
}

func (m *memBind) Send(bufs [][]byte, _ conn.Endpoint) error {
	for _, buf := range bufs {
		select {
		case m.out <- bytes.Clone(buf):
		case <-m.closed:
			return net.ErrClosed
		}
	}
	return nil
}

func (m *memBind) Close() error {
	if m.closed != nil && !isClosed(m.closed) {
		close(m.closed)
	}
	return nil
}

func (m *memBind) BatchSize() int                              { return batchSize }
func (m *memBind) SetMark(uint32) error                        { return nil }
func (m *memBind) ParseEndpoint(string) (conn.Endpoint, error) { return memPeer{}, nil }

type memPeer struct{}

func (memPeer) ClearSrc()           {}
func (memPeer) SrcToString() string { return "" }
func (memPeer) DstToString() string { return "peer" }
func (memPeer) DstToBytes() []byte  { return nil }
func (memPeer) DstIP() netip.Addr   { return netip.IPv4Unspecified() }
func (memPeer) SrcIP() netip.Addr   { return netip.Addr{} }
