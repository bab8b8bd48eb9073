package wg

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
)

// A window bounds how many packets are on their way through WireGuard: read from
// the device, and not yet given to the bind. WireGuard itself has no bound worth
// the name: it queues 1,024 batches, each packet in a buffer of 64 KiB, so that
// whoever sends faster than can be encrypted and sent fills memory, and makes all
// others wait. Beyond the window packets stay where they come from.
//
// WireGuard drops packets, and sends some of its own. What is not seen to be sent
// within windowPatience is taken to be gone.
type window struct {
	size int64
	out  atomic.Int64
	// waiting is set while the device is not read for lack of room; room then
	// gets a value when there is some.
	waiting atomic.Bool
	room    chan struct{} // holds one

	patience *time.Timer // of whoever waits, which is one
}

const (
	// windowPatience is how long the device waits for a window in which nothing
	// moves. Longer, and packets to a peer that is gone would keep others waiting;
	// shorter, and a busy machine would have no bound.
	windowPatience = 5 * time.Millisecond
	// windowBatch is how many packets a processor encrypts at once.
	windowBatch = 128
)

// newWindow returns one in which each processor has a batch to encrypt, while
// another is read and another sent.
func newWindow() *window {
	patience := time.NewTimer(windowPatience)
	patience.Stop()
	return &window{
		size:     windowBatch * int64(runtime.GOMAXPROCS(0)+2),
		room:     make(chan struct{}, 1),
		patience: patience,
	}
}

// wait returns when the window has room.
func (w *window) wait() {
	if w.out.Load() < w.size {
		return
	}
	w.patience.Reset(windowPatience)
	defer w.patience.Stop()
	for {
		w.waiting.Store(true)
		before := w.out.Load()
		if before < w.size {
			break
		}
		select {
		case <-w.room:
		case <-w.patience.C:
			w.out.CompareAndSwap(before, 0) // unless something moves
		}
		w.patience.Reset(windowPatience)
	}
	w.waiting.Store(false)
}

// sent says that packets have left.
func (w *window) sent(n int) {
	out := w.out.Add(-int64(n))
	if out < 0 { // WireGuard's own
		w.out.CompareAndSwap(out, 0)
	}
	if out < w.size && w.waiting.CompareAndSwap(true, false) {
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
}

// A windowedTun is the device behind a window.
type windowedTun struct {
	tun.Device
	window *window
}

func (t windowedTun) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	t.window.wait()
	n, err := t.Device.Read(bufs, sizes, offset)
	t.window.out.Add(int64(n))
	return n, err
}

// A windowedBind is the bind in front of a window.
type windowedBind struct {
	conn.Bind
	window *window
}

func (b windowedBind) Send(bufs [][]byte, endpoint conn.Endpoint) error {
	defer b.window.sent(len(bufs))
	return b.Bind.Send(bufs, endpoint)
}
