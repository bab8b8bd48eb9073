package tunwrap

import (
	"errors"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

// A Host is the TUN device of a kernel, with what a stack of ours does by
// itself: packets of our own making come out of Read as well, and the kernel is
// told when its packets are too long for their path.
//
//	inner.Read ── pump's buffers ─┬── too long? ICMP to inner.Write
//	Inject ── queue ──────────────┴── Read
//
// A Read of the kernel's device cannot be interrupted for a packet of ours, so
// that a goroutine reads it, and packets are copied once more.
type Host struct {
	tun.Device
	mtu      int // of the largest packet that every path carries
	injected chan []byte
	batches  chan batch // from the pump
	consumed chan struct{}
	done     chan struct{}
	ended    chan struct{} // closed when the pump has returned
	stop     sync.Once

	reading sync.Mutex
	current batch // what is left of the last one
	holding bool  // the pump waits for its buffers
}

// A batch is packets in the pump's buffers.
type batch struct {
	packets [][]byte
	err     error // of the Read that ended with them
}

const (
	// headroom is for what devices put in front of a packet: 10 bytes on Linux.
	headroom   = 16
	maxPacket  = 65535
	maxInjects = 128 // packets of ours that wait
)

// NewHost starts to read inner, which it owns. Packets of more than mtu bytes
// that must not be cut are answered, not sent.
func NewHost(inner tun.Device, mtu int) *Host {
	h := &Host{
		Device:   inner,
		mtu:      mtu,
		injected: make(chan []byte, maxInjects),
		batches:  make(chan batch),
		consumed: make(chan struct{}),
		done:     make(chan struct{}),
		ended:    make(chan struct{}),
	}
	go h.pump()
	return h
}

// Inject queues a packet of ours, which belongs to the Host from then on. It is
// dropped when the queue is full.
func (h *Host) Inject(packet []byte) {
	select {
	case h.injected <- packet:
	default:
	}
}

// pump reads the inner device until that is closed.
func (h *Host) pump() {
	defer close(h.ended)
	bufs := make([][]byte, h.Device.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, headroom+maxPacket)
	}
	sizes := make([]int, len(bufs))
	packets := make([][]byte, len(bufs))
	for {
		n, err := h.Device.Read(bufs, sizes, headroom)
		for i := range n {
			packets[i] = bufs[i][headroom : headroom+sizes[i]]
		}
		select {
		case h.batches <- batch{packets[:n], err}:
		case <-h.done:
			return
		}
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
			return
		}
		select {
		case <-h.consumed:
		case <-h.done:
			return
		}
	}
}

// Read waits for packets of the host's or ours.
func (h *Host) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	h.reading.Lock()
	defer h.reading.Unlock()
	for {
		if h.holding {
			if n := h.take(bufs, sizes, offset); n > 0 {
				return n, nil
			}
			if err := h.giveBack(); err != nil {
				return 0, err
			}
		}
		select {
		case packet := <-h.injected:
			if n := put(bufs[0], packet, offset); n > 0 {
				sizes[0] = n
				return 1, nil
			}
		case h.current = <-h.batches:
			h.holding = true
		case <-h.ended: // after its last batch
			return 0, os.ErrClosed
		}
	}
}

// take moves packets of the current batch to bufs. It returns 0 when there are
// no more to be sent.
func (h *Host) take(bufs [][]byte, sizes []int, offset int) (n int) {
	left := h.current.packets
	for n < len(bufs) && len(left) > 0 {
		packet := left[0]
		left = left[1:]
		if len(packet) > h.mtu && h.refuse(packet) {
			continue
		}
		if size := put(bufs[n], packet, offset); size > 0 {
			sizes[n] = size
			n++
		}
	}
	h.current.packets = left
	return n
}

// giveBack lets the pump use its buffers again, and returns the error that came
// with them.
func (h *Host) giveBack() error {
	h.holding = false
	select {
	case h.consumed <- struct{}{}:
	case <-h.ended:
	}
	return h.current.err
}

// put copies a packet, or returns 0 when there is no room for it.
func put(buf, packet []byte, offset int) int {
	if len(packet) > len(buf)-offset {
		return 0
	}
	return copy(buf[offset:], packet)
}

// refuse tells the host that a packet is too long, and reports whether it did:
// one that may be cut on its way goes on, and the network beneath cuts what it
// is wrapped in.
func (h *Host) refuse(packet []byte) bool {
	answer := tooBig(packet, h.mtu)
	if answer == nil {
		return false
	}
	buf := append(make([]byte, headroom, headroom+len(answer)), answer...)
	h.Device.Write([][]byte{buf}, headroom) // if that fails, the host hears of it by other ways, or not
	return true
}

// Close closes the inner device and ends Read.
func (h *Host) Close() error {
	h.stop.Do(func() { close(h.done) })
	err := h.Device.Close()
	<-h.ended
	return err
}
