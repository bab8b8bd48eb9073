package tunwrap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"golang.zx2c4.com/wireguard/tun"
)

// A kernel is a TUN device as a kernel has it: Read waits for packets, and for
// nothing else but Close.
type kernel struct {
	inner
	sends   chan [][]byte
	written chan []byte
	closed  chan struct{}
	stop    sync.Once
}

func newKernel() *kernel {
	return &kernel{sends: make(chan [][]byte), written: make(chan []byte, 10), closed: make(chan struct{})}
}

func (k *kernel) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case packets := <-k.sends:
		if packets == nil {
			return 0, tun.ErrTooManySegments
		}
		for i, p := range packets {
			sizes[i] = copy(bufs[i][offset:], p)
		}
		return len(packets), nil
	case <-k.closed:
		return 0, os.ErrClosed
	}
}

func (k *kernel) Write(bufs [][]byte, offset int) (int, error) {
	if offset < 10 {
		return 0, errors.New("there is no room for the kernel's header")
	}
	for _, buf := range bufs {
		k.written <- bytes.Clone(buf[offset:])
	}
	return len(bufs), nil
}

func (k *kernel) Close() error {
	k.stop.Do(func() { close(k.closed) })
	return nil
}

// readTwo reads one batch of at most two packets.
func readTwo(t *testing.T, h *Host) (texts []string) {
	t.Helper()
	bufs, sizes := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]int, 2)
	n, err := h.Read(bufs, sizes, 5)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	for i := range n {
		texts = append(texts, string(bufs[i][5:5+sizes[i]]))
	}
	return texts
}

func TestHostReadsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKernel()
		h := NewHost(k, 1280)
		h.Inject([]byte("ours"))
		if got := readTwo(t, h); len(got) != 1 || got[0] != "ours" {
			t.Errorf("Read: %q", got)
		}
		go func() { k.sends <- [][]byte{[]byte("a"), []byte("b"), []byte("c")} }()
		if got := readTwo(t, h); len(got) != 2 || got[0] != "a" || got[1] != "b" {
			t.Errorf("Read: %q", got)
		}
		h.Inject([]byte("ours, while one of the kernel's is left"))
		if got := readTwo(t, h); len(got) != 1 || got[0] != "c" {
			t.Errorf("Read: %q", got)
		}
		if got := readTwo(t, h); len(got) != 1 || got[0][:4] != "ours" {
			t.Errorf("Read: %q", got)
		}
		go func() { k.sends <- nil }()
		if _, err := h.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 5); !errors.Is(err, tun.ErrTooManySegments) {
			t.Errorf("the kernel's error becomes %v", err)
		}
		go func() { k.sends <- [][]byte{[]byte("d")} }() // after an error that passes
		if got := readTwo(t, h); len(got) != 1 || got[0] != "d" {
			t.Errorf("Read: %q", got)
		}
		for range 2 * maxInjects {
			h.Inject([]byte("more than there is room for"))
		}
		h.Close()
		h.Close()
	})
}

func TestHostEndsWithItsDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*kernel, *Host){
			func(k *kernel, h *Host) { k.Close() },
			func(k *kernel, h *Host) { h.Close() },
		} {
			k := newKernel()
			h := NewHost(k, 1280)
			ended := make(chan error)
			go func() {
				_, err := h.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 5)
				ended <- err
			}()
			synctest.Wait()
			end(k, h)
			if err := <-ended; !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read: %v", err)
			}
			h.Close()
		}
	})
}

// long4 and long6 are UDP packets of a size.
func long4(size int, flags uint16) []byte {
	b := make([]byte, size)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	binary.BigEndian.PutUint16(b[6:], flags)
	copy(b[12:], a4.AsSlice())
	copy(b[16:], b4.AsSlice())
	return b
}

func long6(size int) []byte {
	b := make([]byte, size)
	b[0], b[6], b[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(b[4:], uint16(size-40))
	copy(b[8:], a6.AsSlice())
	copy(b[24:], b6.AsSlice())
	return b
}

const dontFragment = 0x4000

func TestHostHearsWhatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKernel()
		h := NewHost(k, 1280)
		defer h.Close()
		fits, mayBeCut := long4(1280, dontFragment), long4(1500, 0)
		go func() {
			k.sends <- [][]byte{long4(1281, dontFragment), fits, long6(1400), mayBeCut, long6(1300)}
		}()
		if got := readTwo(t, h); len(got) != 2 || got[0] != string(fits) || got[1] != string(mayBeCut) {
			t.Errorf("%d packets are sent", len(got))
		}
		h.Inject([]byte("next")) // the last packet of the batch is not sent, and Read goes on
		if got := readTwo(t, h); len(got) != 1 || got[0] != "next" {
			t.Errorf("Read: %q", got)
		}
		checkTooBig4(t, <-k.written, b4, a4, 1280)
		for range 2 {
			checkTooBig6(t, <-k.written, b6, a6, 1280)
		}
	})
}

func checkTooBig4(t *testing.T, p []byte, from, to netip.Addr, mtu uint16) {
	t.Helper()
	if len(p) > 576 || checksum(p[:20]) != 0 || checksum(p[20:]) != 0 || int(binary.BigEndian.Uint16(p[2:])) != len(p) ||
		p[9] != 1 || p[20] != 3 || p[21] != 4 || binary.BigEndian.Uint16(p[26:]) != mtu ||
		netip.AddrFrom4([4]byte(p[12:])) != from || netip.AddrFrom4([4]byte(p[16:])) != to || p[28] != 0x45 {
		t.Errorf("the host hears %x", p)
	}
}

func checkTooBig6(t *testing.T, p []byte, from, to netip.Addr, mtu uint32) {
	t.Helper()
	pseudo := append(append([]byte(nil), p[8:40]...), 0, 0, byte((len(p)-40)>>8), byte(len(p)-40), 0, 0, 0, 58)
	if len(p) > 1280 || checksum(append(pseudo, p[40:]...)) != 0 || int(binary.BigEndian.Uint16(p[4:])) != len(p)-40 ||
		p[6] != 58 || p[40] != 2 || binary.BigEndian.Uint32(p[44:]) != mtu ||
		netip.AddrFrom16([16]byte(p[8:])) != from || netip.AddrFrom16([16]byte(p[24:])) != to || p[48] != 0x60 {
		t.Errorf("the host hears %x", p)
	}
}

func TestWhatIsTooLongWithoutAnswer(t *testing.T) {
	icmp := long4(1400, dontFragment)
	icmp[9], icmp[20] = 1, 3 // an error itself
	multicast := long4(1400, dontFragment)
	copy(multicast[16:], netip.MustParseAddr("224.0.0.1").AsSlice())
	icmp6 := long6(1400)
	icmp6[6], icmp6[40] = 58, 1
	for name, packet := range map[string][]byte{
		"nothing":          nil,
		"not IP":           make([]byte, 1400),
		"may be cut":       long4(1400, 0),
		"later fragment":   long4(1400, dontFragment|7),
		"an error":         icmp,
		"an error of IPv6": icmp6,
		"to several":       multicast,
	} {
		if got := tooBig(packet, 1280); got != nil {
			t.Errorf("%s: the answer is %x", name, got)
		}
	}
}

func FuzzTooBig(f *testing.F) {
	f.Add(long4(1281, dontFragment))
	f.Add(long6(1281))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, packet []byte) {
		if answer := tooBig(packet, 1280); len(answer) > 1280 {
			t.Errorf("an answer of %d bytes", len(answer))
		}
	})
}
