package udp

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memConn is one end of a network of two in memory.
type memConn struct {
	net.PacketConn // nil: for the methods that are not called
	addr           memAddr
	in             chan []byte
	other          *memConn
	closed         chan struct{}
	closeOnce      sync.Once
}

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }

func memPair(a, b memAddr) (*memConn, *memConn) {
	x := &memConn{addr: a, in: make(chan []byte, 256), closed: make(chan struct{})}
	y := &memConn{addr: b, in: make(chan []byte, 256), closed: make(chan struct{}), other: x}
	x.other = y
	return x, y
}

func (c *memConn) LocalAddr() net.Addr { return c.addr }

func (c *memConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case packet := <-c.in:
		return copy(b, packet), c.other.addr, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *memConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.other.in <- append([]byte(nil), b...)
	return len(b), nil
}

func (c *memConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

func (c *memConn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return nil
}

func TestConnInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := memPair("10.0.0.1:1", "[::ffff:10.0.0.2]:2")
		a, b := New(x), New(y)
		if a.BatchSize() != 1 {
			t.Errorf("BatchSize is %d, want 1", a.BatchSize())
		}
		if want := netip.MustParseAddrPort("10.0.0.2:2"); b.LocalAddr() != want {
			t.Errorf("LocalAddr is %v, want %v", b.LocalAddr(), want)
		}
		packets := packetsOf(1400, 1400, 3, 0)
		if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		wantPackets(t, b, 8, a.LocalAddr(), packets)
		if err := b.WriteBatch(packets, a.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		wantPackets(t, a, 8, b.LocalAddr(), packets)

		errs := make(chan error)
		go func() {
			bufs := newBuffers(1)
			_, err := b.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
			errs <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-errs; err != net.ErrClosed {
			t.Errorf("ReadBatch after Close: %v", err)
		}
	})
}

func TestAddressesThatAreNotIPArePassedOver(t *testing.T) {
	x, y := memPair("somewhere", "10.0.0.2:2")
	a, b := New(x), New(y)
	if a.LocalAddr().IsValid() {
		t.Errorf("LocalAddr is %v, want none", a.LocalAddr())
	}
	packets := packetsOf(1, 2)
	if err := a.WriteBatch(packets[:1], b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	y.in <- packets[1]
	x.addr = "10.0.0.1:1"
	wantPackets(t, b, 1, netip.MustParseAddrPort("10.0.0.1:1"), packets)
}
