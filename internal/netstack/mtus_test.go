package netstack

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// raise is what SetMTUs takes for some addresses.
func raise(mtu int, addrs ...netip.Addr) map[netip.Prefix]int {
	raised := make(map[netip.Prefix]int)
	for _, addr := range addrs {
		raised[netip.PrefixFrom(addr, addr.BitLen())] = mtu
	}
	return raised
}

func TestMTUs(t *testing.T) {
	raised := raise(8900, b4, b6)
	for text, mtu := range map[string]int{
		"10.0.0.0/8": 9000, "10.1.0.0/16": 1280, "10.1.2.0/24": 2000, "10.1.2.3/24": 2000, // not masked: the same twice
		"192.168.0.0/16": 1000, "fd00::/8": 70000, "0.0.0.0/0": 1400,
	} {
		raised[netip.MustParsePrefix(text)] = mtu
	}
	raised[netip.Prefix{}] = 5000
	m := newMTUs(1280, raised)
	for text, want := range map[string]int{
		"100.64.0.2": 8900, "fd7a:115c:a1e0::2": 8900, "fd7a:115c:a1e0::3": 65535, "2001:db8::1": 1280, "::": 1280,
		"10.0.0.1": 9000, "10.1.0.1": 1280, "10.1.2.1": 2000, "192.168.0.1": 1280, "100.64.0.3": 1400,
	} {
		if got := m.to(netip.MustParseAddr(text)); got != want {
			t.Errorf("packets to %s may have %d bytes; want %d", text, got, want)
		}
	}
	if got := m.to(netip.Addr{}); got != 1280 {
		t.Errorf("packets to nowhere may have %d bytes", got)
	}
}

// A path is a device behind a path that drops what is larger than its MTU.
type path struct {
	tun.Device
	mtu     atomic.Int64
	packets atomic.Int64  // that passed
	largest atomic.Int64  // of them
	again   chan struct{} // a packet of data has passed, and another was dropped before
	dropped bool          // since then; belongs to the one who writes
}

func newPath(to *Stack) *path {
	p := &path{Device: to.Tun(), again: make(chan struct{}, 1)}
	p.mtu.Store(defaultMTU)
	return p
}

func (p *path) Write(bufs [][]byte, offset int) (int, error) {
	passed := make([][]byte, 0, len(bufs))
	for _, buf := range bufs {
		size := int64(len(buf) - offset)
		if size > p.mtu.Load() {
			p.dropped = true
			continue
		}
		p.packets.Add(1)
		p.largest.Store(max(p.largest.Load(), size))
		if p.dropped && size > 1200 {
			p.dropped = false
			select {
			case p.again <- struct{}{}:
			default:
			}
		}
		passed = append(passed, buf)
	}
	return p.Device.Write(passed, offset)
}

// joinByPaths is join, with paths that carry 1280 bytes.
func joinByPaths(t testing.TB, a, b *Stack) (toA, toB *path) {
	toA, toB = newPath(a), newPath(b)
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(a.Tun(), toB) })
	pumps.Go(func() { pump(b.Tun(), toA) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
	return toA, toB
}

// A connection that is made while its path carries no more than usual speeds up
// with it, and goes on when the path carries less than it is believed to.
func TestPathMTUChanges(t *testing.T) {
	for _, addr := range []netip.Addr{b4, b6} {
		a, b := newStack(t, a4, a6), newStack(t, b4, b6)
		_, toB := joinByPaths(t, a, b)
		client, server := connect(t, a, b, addr)

		oneWay(t, client, server, 2<<20)
		if got := toB.largest.Swap(0); got > 1280 {
			t.Errorf("to begin with packets have %d bytes", got)
		}
		for _, mtu := range []int64{1440, 8896, 65472, 16000} {
			toB.mtu.Store(max(mtu, toB.mtu.Load()))
			a.SetMTUs(raise(int(mtu), b4, b6))
			toB.mtu.Store(mtu)
			oneWay(t, client, server, 2<<20)
			// A packet is made of what was written at once, 32 KiB here.
			if got := toB.largest.Swap(0); got > mtu || got < min(mtu, 32<<10) {
				t.Errorf("where packets may have %d bytes they have %d", mtu, got)
			}
		}

		toB.mtu.Store(1400)
		sent, received := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := io.CopyN(client, endless{}, 16<<20)
			sent <- err
		}()
		go func() {
			_, err := io.CopyN(io.Discard, server, 16<<20)
			received <- err
		}()
		<-toB.again // before anybody knows
		a.SetMTUs(raise(1400, b4, b6))
		if err := errors.Join(<-sent, <-received); err != nil {
			t.Errorf("over a path that carries less than before: %v", err)
		}
		if got := toB.largest.Load(); got != 1400 {
			t.Errorf("in the end packets have %d bytes", got)
		}
	}
}

// Whatever the path carries, connections are made as unmodified peers make them.
func TestAdvertisedMSS(t *testing.T) {
	for _, tt := range []struct {
		from, to netip.Addr
		want     uint16
	}{{a4, b4, 1240}, {a6, b6, 1220}} {
		a, b := newStack(t, tt.from), newStack(t, tt.to)
		a.SetMTUs(raise(8900, tt.to))
		b.SetMTUs(raise(8900, tt.from))
		mustListen(t, b, "tcp", netip.AddrPortFrom(tt.to, 80).String())
		ctx, cancel := context.WithCancel(t.Context())
		dialled := make(chan struct{})
		go func() {
			defer close(dialled)
			if _, err := a.DialTCP(ctx, "tcp", tt.from, netip.AddrPortFrom(tt.to, 80)); err == nil {
				t.Error("a connection without a network")
			}
		}()
		syn := read(t, a)[0]
		if _, err := b.Tun().Write([][]byte{syn}, 0); err != nil {
			t.Fatal(err)
		}
		answer := read(t, b)[0]
		for name, packet := range map[string][]byte{"SYN": syn, "answer": answer} {
			segment, _ := tcpOf(t, packet)
			if got := header.ParseSynOptions(segment.Options(), false).MSS; got != tt.want {
				t.Errorf("from %v to %v: the MSS in the %s is %d; want %d", tt.from, tt.to, name, got, tt.want)
			}
		}
		cancel()
		<-dialled
	}
}

// read returns packets of the stack, at least one.
func read(t *testing.T, s *Stack) [][]byte {
	t.Helper()
	bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
	for i := range bufs {
		bufs[i] = make([]byte, 65535)
	}
	n, err := s.Tun().Read(bufs, sizes, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		bufs[i] = bufs[i][:sizes[i]]
	}
	return bufs[:n]
}

func TestCuttingAllocatesNothing(t *testing.T) {
	raised := raise(8900, b4, b6)
	raised[netip.MustParsePrefix("10.0.0.0/8")] = 9000
	m := newMTUs(defaultMTU, raised)
	c, buf := new(cutter), make([]byte, 65535)
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		pkt := superSegment(netip.AddrPortFrom(ends[0], 1), netip.AddrPortFrom(ends[1], 2), 1, header.TCPFlagAck, 1228, make([]byte, 60000))
		defer pkt.DecRef()
		for _, gso := range []stack.GSO{pkt.GSOOptions, {}} { // segments, and fragments
			pkt.GSOOptions = gso
			if n := testing.AllocsPerRun(100, func() {
				pkt.IncRef()
				for c.start(pkt, m); c.busy(); {
					c.next(buf)
				}
			}); n != 0 {
				t.Errorf("cutting a packet to %v makes %v allocations", ends[1], n)
			}
		}
	}
}
