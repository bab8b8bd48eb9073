package udp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// kinds are the ways in which a Conn may work here.
func kinds() map[string]func(net.PacketConn) *Conn {
	all := map[string]func(net.PacketConn) *Conn{
		"as the host can": New,
		"plain":           func(pc net.PacketConn) *Conn { enlargeBuffers(pc); return NewPlain(pc) },
		"plain, any conn": func(pc net.PacketConn) *Conn { enlargeBuffers(pc); return &Conn{pc: pc, path: &plain{anyConn{pc}}} },
	}
	addBatchedKinds(all)
	return all
}

// each runs a test with a pair of sockets of every kind, on IPv4 and IPv6, and
// with one of every kind that sends to one that does all that the host can.
func each(t *testing.T, test func(t *testing.T, a, b *Conn)) {
	for name, kind := range kinds() {
		for _, network := range []string{"udp4", "udp6"} {
			t.Run(name+"/"+network, func(t *testing.T) {
				test(t, kind(listen(t, network)), kind(listen(t, network)))
			})
		}
		t.Run(name+"/udp4 to as the host can", func(t *testing.T) {
			test(t, kind(listen(t, "udp4")), New(listen(t, "udp4")))
		})
	}
}

var loopback = map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}

func listen(t testing.TB, network string) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket(network, loopback[network])
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// packetsOf makes packets of sizes; each begins with its number, as far as it
// is long enough, and is filled with it.
func packetsOf(sizes ...int) [][]byte {
	packets := make([][]byte, len(sizes))
	for i, size := range sizes {
		packets[i] = append(binary.BigEndian.AppendUint32(nil, uint32(i)), bytes.Repeat([]byte{byte(i)}, size)...)[:size]
	}
	return packets
}

func repeat(size, n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// buffers are what a caller of ReadBatch needs for n datagrams.
type buffers struct {
	packets [][]byte
	sizes   []int
	from    []netip.AddrPort
}

func newBuffers(n int) *buffers {
	b := &buffers{make([][]byte, n), make([]int, n), make([]netip.AddrPort, n)}
	for i := range b.packets {
		b.packets[i] = make([]byte, 64<<10)
	}
	return b
}

// wantPackets reads until it has as many datagrams as want, and checks them.
func wantPackets(t *testing.T, c *Conn, slots int, from netip.AddrPort, want [][]byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second)) // against a test that hangs
	defer c.SetReadDeadline(time.Time{})
	bufs := newBuffers(slots)
	for got := 0; got < len(want); {
		n, err := c.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", got, len(want), err)
		}
		if n == 0 || n > slots || got+n > len(want) {
			t.Fatalf("%d datagrams at once, of %d; there were %d before", n, len(want), got)
		}
		for i := range n {
			if packet := bufs.packets[i][:bufs.sizes[i]]; !bytes.Equal(packet, want[got+i]) {
				t.Fatalf("datagram %d has %d bytes, or others; want %d", got+i, len(packet), len(want[got+i]))
			}
			if bufs.from[i] != from {
				t.Fatalf("datagram %d comes from %v, want %v", got+i, bufs.from[i], from)
			}
		}
		got += n
	}
}

var batches = map[string][]int{
	"one":                           {1400},
	"one empty":                     {0},
	"equal":                         repeat(1400, 100),
	"more than 64 segments":         repeat(100, 128),
	"more than a batch":             repeat(60, 300),
	"a tiny last one":               append(repeat(1400, 20), 1),
	"a tiny one within":             append(append(repeat(1400, 3), 1), repeat(1400, 3)...),
	"falling":                       {1400, 1000, 1000, 900, 40, 40, 40, 1},
	"rising":                        {1, 40, 40, 900, 1000, 1400},
	"empty ones within":             {100, 0, 100, 100, 0, 0, 50, 50},
	"large":                         {30000, 30000, 30000, 65000, 5},
	"the largest joined message":    append(repeat(8186, 8), 5, 8186, 8186),
	"one byte each":                 repeat(1, 130),
	"as WireGuard's, then a small":  append(repeat(1452, 127), 32),
	"as WireGuard's, mixed streams": {1452, 1452, 148, 1452, 1452, 92, 1452, 32, 32, 32, 1452},
}

func TestBatchesArriveAsTheyWere(t *testing.T) {
	each(t, func(t *testing.T, a, b *Conn) {
		for name, sizes := range batches {
			packets := packetsOf(sizes...)
			errs := make(chan error, 1)
			go func() { errs <- a.WriteBatch(packets, b.LocalAddr()) }()
			wantPackets(t, b, 128, a.LocalAddr(), packets)
			if err := <-errs; err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

func TestWhatFindsNoPlaceIsKept(t *testing.T) {
	each(t, func(t *testing.T, a, b *Conn) {
		packets := packetsOf(append(repeat(500, 40), repeat(300, 30)...)...)
		for _, slots := range []int{1, 2, 7, 64} {
			if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			wantPackets(t, b, slots, a.LocalAddr(), packets)
		}
	})
}

func TestSocketForBothFamilies(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			both := kind(listen(t, "udp"))
			port := both.LocalAddr().Port()
			for _, network := range []string{"udp4", "udp6"} {
				other := kind(listen(t, network))
				here := netip.AddrPortFrom(other.LocalAddr().Addr(), port)
				there := other.LocalAddr()
				packets := packetsOf(700, 700, 5)
				if err := both.WriteBatch(packets, netip.AddrPortFrom(netip.AddrFrom16(there.Addr().As16()), there.Port())); err != nil {
					t.Fatalf("to a mapped address: %v", err)
				}
				wantPackets(t, other, 128, here, packets)
				if err := other.WriteBatch(packets, here); err != nil {
					t.Fatal(err)
				}
				wantPackets(t, both, 128, there, packets)
			}
		})
	}
}

func TestDatagramLongerThanItsPacketIsCutShort(t *testing.T) {
	each(t, func(t *testing.T, a, b *Conn) {
		if err := a.WriteBatch(packetsOf(100, 100, 50), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		b.SetReadDeadline(time.Now().Add(10 * time.Second))
		packet, sizes, from := [][]byte{make([]byte, 60)}, make([]int, 1), make([]netip.AddrPort, 1)
		for i, want := range []int{60, 60, 50} {
			if n, err := b.ReadBatch(packet, sizes, from); n != 1 || err != nil || sizes[0] != want {
				t.Fatalf("datagram %d: %d, %v, of %d bytes; want %d", i, n, err, sizes[0], want)
			}
		}
	})
}

func TestCloseWakesTheReader(t *testing.T) {
	each(t, func(t *testing.T, a, _ *Conn) {
		errs := make(chan error)
		go func() {
			bufs := newBuffers(1)
			_, err := a.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
			errs <- err
		}()
		a.Close()
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("ReadBatch: %v, want net.ErrClosed", err)
		}
		if err := a.WriteBatch(packetsOf(1, 1), a.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("WriteBatch: %v, want net.ErrClosed", err)
		}
	})
}

func TestDeadlineWakesTheReaderOnly(t *testing.T) {
	each(t, func(t *testing.T, a, b *Conn) {
		b.SetReadDeadline(time.Unix(1, 0))
		bufs := newBuffers(1)
		if _, err := b.ReadBatch(bufs.packets, bufs.sizes, bufs.from); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("ReadBatch: %v, want os.ErrDeadlineExceeded", err)
		}
		b.SetReadDeadline(time.Time{})
		packets := packetsOf(10)
		if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		wantPackets(t, b, 1, a.LocalAddr(), packets)
	})
}

func TestManyWriters(t *testing.T) {
	each(t, func(t *testing.T, a, b *Conn) {
		const writers, rounds = 8, 5 // no more than any host buffers
		for range writers {
			go func() {
				for range rounds {
					a.WriteBatch(packetsOf(200, 200, 200, 17), b.LocalAddr())
				}
			}()
		}
		b.SetReadDeadline(time.Now().Add(10 * time.Second))
		bufs, count := newBuffers(128), map[int]int{}
		for total := 0; total < writers*rounds*4; {
			n, err := b.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
			if err != nil {
				t.Fatalf("after %d datagrams: %v", total, err)
			}
			total += n
			for _, size := range bufs.sizes[:n] {
				count[size]++
			}
		}
		if count[200] != writers*rounds*3 || count[17] != writers*rounds {
			t.Fatalf("datagrams by size: %v", count)
		}
	})
}

func TestWriteSaysWhatFailed(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			a := kind(listen(t, "udp4"))
			err := a.WriteBatch(packetsOf(1), netip.MustParseAddrPort("[::1]:9"))
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "write" {
				t.Errorf("an address of the other family: %v, want a net.OpError", err)
			}
			b := kind(listen(t, "udp4"))
			packets := packetsOf(70_000, 100, 100)
			if err := a.WriteBatch(packets, b.LocalAddr()); !TooLarge(err) {
				t.Errorf("a packet that is too large: %v", err)
			}
			wantPackets(t, b, 128, a.LocalAddr(), packets[1:])
		})
	}
}

func TestErrorsOfTheNetworkDoNotEndTheReader(t *testing.T) {
	pc := &failing{PacketConn: listen(t, "udp4"), errs: []error{&net.OpError{Op: "read", Err: os.NewSyscallError("recvfrom", refused)}}}
	a, b := New(listen(t, "udp4")), New(pc)
	packets := packetsOf(5)
	if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	wantPackets(t, b, 1, a.LocalAddr(), packets)
}

// failing returns errors, then what it wraps returns.
type failing struct {
	net.PacketConn
	errs []error
}

func (f *failing) ReadFrom(b []byte) (int, net.Addr, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return 0, nil, err
	}
	return f.PacketConn.ReadFrom(b)
}

func TestWriteWhole(t *testing.T) {
	packet := packetsOf(500)
	for name, pc := range map[string]net.PacketConn{
		"the host's": listen(t, "udp4"),
		"another":    &failing{PacketConn: listen(t, "udp4")},
	} {
		to := New(listen(t, "udp4"))
		c := New(pc)
		err := c.WriteWhole(packet[0], to.LocalAddr())
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantPackets(t, to, 1, c.LocalAddr(), packet)
	}
}

// Callers decide by these, and the host's own numbers count.
func TestErrorsOfWrites(t *testing.T) {
	written := func(err error) error {
		return &net.OpError{Op: "write", Err: os.NewSyscallError("sendto", err)}
	}
	for _, tt := range []struct {
		name                string
		err                 error
		tooLarge, congested bool
	}{
		{"too large", written(tooLarge), true, false},
		{"too large for a network in memory", syscall.EMSGSIZE, true, false},
		{"no room", written(noRoom), false, true},
		{"nobody there", written(refused), false, false},
		{"closed", net.ErrClosed, false, false},
		{"none", nil, false, false},
	} {
		if large, congested := TooLarge(tt.err), Congested(tt.err); large != tt.tooLarge || congested != tt.congested {
			t.Errorf("%s: too large %v, congested %v", tt.name, large, congested)
		}
	}
}
