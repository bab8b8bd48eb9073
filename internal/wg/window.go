package wg

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// A window bounds how many packets are inside WireGuard on their way in one
// direction: read from the device and not yet given to the bind, or received and
// not yet given to the device. WireGuard itself has no bound worth the name: it
// queues 1,024 batches, each packet in a buffer of 64 KiB, so that whoever sends
// faster than can be encrypted or decrypted fills memory, leaves the processor's
// caches, and makes all others wait. Beyond the window packets stay where they come
// from.
//
// WireGuard drops packets, and sends some of its own. What has not come out within
// windowPatience is taken to be gone.
type window struct {
	size   int64
	inside atomic.Int64
	// waiting is set while there is no room for somebody; room then gets a value
	// when there is some.
	waiting atomic.Bool
	room    chan struct{} // holds one

	turn     sync.Mutex // of whoever waits
	patience *time.Timer
}

const (
	// windowPatience is how long somebody waits for a window in which nothing
	// moves. Longer, and packets to a peer that is gone would keep others waiting;
	// shorter, and a busy machine would have no bound.
	windowPatience = 5 * time.Millisecond
	// windowBatch is how many packets a processor encrypts or decrypts at once.
	windowBatch = 128
)

// newWindow returns one in which each processor has a batch, while another comes in
// and another goes out.
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
	if w.inside.Load() < w.size {
		return
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	w.patience.Reset(windowPatience)
	defer w.patience.Stop()
	for {
		w.waiting.Store(true)
		before := w.inside.Load()
		if before < w.size {
			break
		}
		select {
		case <-w.room:
		case <-w.patience.C:
			w.inside.CompareAndSwap(before, 0) // unless something moves
		}
		w.patience.Reset(windowPatience)
	}
	w.waiting.Store(false)
}

// enter says that packets have gone in.
func (w *window) enter(n int) { w.inside.Add(int64(n)) }

// leave says that packets have come out.
func (w *window) leave(n int) {
	inside := w.inside.Add(-int64(n))
	if inside < 0 { // WireGuard's own
		w.inside.CompareAndSwap(inside, 0)
	}
	if inside < w.size && w.waiting.CompareAndSwap(true, false) {
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
}

// windows are those of a device: what is to be sent, and what was received.
type windows struct{ out, in *window }

func newWindows() windows { return windows{newWindow(), newWindow()} }

// A windowedTun is the device at one end of both windows.
type windowedTun struct {
	tun.Device
	windows
}

func (t windowedTun) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	t.out.wait()
	n, err := t.Device.Read(bufs, sizes, offset)
	t.out.enter(n)
	return n, err
}

func (t windowedTun) Write(bufs [][]byte, offset int) (int, error) {
	defer t.in.leave(len(bufs))
	return t.Device.Write(bufs, offset)
}

// A windowedBind is the bind at the other end.
type windowedBind struct {
	conn.Bind
	windows
}

func (b windowedBind) Send(bufs [][]byte, endpoint conn.Endpoint) error {
	defer b.out.leave(len(bufs))
	return b.Bind.Send(bufs, endpoint)
}

func (b windowedBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive, port, err := b.Bind.Open(port)
	for i := range receive {
		receive[i] = (&windowedReceive{receive: receive[i], window: b.in}).next
	}
	return receive, port, err
}

// A windowedReceive lets data into a window. What WireGuard has no session for it
// leaves in the buffer that it came in: anybody can send that, and it is to have no
// room in the window.
type windowedReceive struct {
	receive conn.ReceiveFunc
	window  *window
	data    []*byte // the buffers with data that were received last; nil in the place of others
}

// next is a [conn.ReceiveFunc].
func (r *windowedReceive) next(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	r.window.leave(r.left(bufs))
	r.window.wait()
	n, err := r.receive(bufs, sizes, eps)
	r.window.enter(r.found(bufs[:n], sizes))
	return n, err
}

// found notes which packets are data, and returns how many.
func (r *windowedReceive) found(bufs [][]byte, sizes []int) (n int) {
	for i, buf := range bufs {
		var data *byte
		if sizes[i] > device.MessageKeepaliveSize && buf[0] == device.MessageTransportType {
			data = &buf[0]
			n++
		}
		r.data = append(r.data, data)
	}
	return n
}

// left returns how many of the packets that were data are still in the buffers that
// WireGuard receives to.
func (r *windowedReceive) left(bufs [][]byte) (n int) {
	for i, data := range r.data {
		if data != nil && data == &bufs[i][0] {
			n++
		}
	}
	clear(r.data)
	r.data = r.data[:0]
	return n
}
