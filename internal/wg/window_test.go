package wg

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		w.size = 100
		waited := func() time.Duration {
			start := time.Now()
			w.wait()
			return time.Since(start)
		}
		w.enter(99)
		if d := waited(); d != 0 {
			t.Errorf("with room it waits %v", d)
		}
		w.enter(60)
		go func() { // small steps, of which the last gives room
			for range 6 {
				time.Sleep(windowPatience / 2)
				w.leave(10)
			}
		}()
		if d := waited(); d != 3*windowPatience {
			t.Errorf("it waits %v", d)
		}
		w.inside.Store(250)
		go func() {
			time.Sleep(time.Millisecond)
			w.leave(151)
		}()
		if d := waited(); d != time.Millisecond {
			t.Errorf("when there is room it goes on after %v", d)
		}
		synctest.Wait()
		w.inside.Store(100)
		if d := waited(); d != windowPatience || w.inside.Load() != 0 {
			t.Errorf("when nothing moves it waits %v, and takes %d to be on their way", d, w.inside.Load())
		}
		w.leave(5)
		if n := w.inside.Load(); n != 0 {
			t.Errorf("WireGuard's own packets make room: %d", n)
		}
	})
}

// What WireGuard takes is in the window until the device gets it; what it leaves in
// the buffers, and what is no data, is not.
func TestReceiveWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		w.size = 3
		arriving := [][]byte{data(100), data(100), data(device.MessageKeepaliveSize), {device.MessageInitiationType, 147: 0}}
		r := &windowedReceive{window: w, receive: func(bufs [][]byte, sizes []int, _ []conn.Endpoint) (int, error) {
			for i, packet := range arriving {
				sizes[i] = copy(bufs[i], packet)
			}
			return len(arriving), nil
		}}
		bufs := make([][]byte, 128)
		for i := range bufs {
			bufs[i] = make([]byte, 200)
		}
		receive := func() (waited time.Duration) {
			t.Helper()
			start := time.Now()
			n, err := r.next(bufs, make([]int, len(bufs)), make([]conn.Endpoint, len(bufs)))
			if n != len(arriving) || err != nil {
				t.Fatalf("%d, %v, want all packets", n, err)
			}
			return time.Since(start)
		}
		take := func(slots ...int) { // as WireGuard does
			for _, i := range slots {
				bufs[i] = make([]byte, 200)
			}
		}
		want := func(what string, waited, wantWaited time.Duration, inside int64) {
			t.Helper()
			if got := w.inside.Load(); got != inside || waited != wantWaited {
				t.Errorf("%s: %d are inside after %v, want %d after %v", what, got, waited, inside, wantWaited)
			}
		}
		want("two arrive", receive(), 0, 2)
		want("two more, and those were left", receive(), 0, 2)
		take(0, 3)
		want("two more, and one was taken", receive(), 0, 3)
		take(0, 1, 2)
		time.AfterFunc(time.Millisecond, func() { windowedTun{discard{}, windows{in: w}}.Write(make([][]byte, 2), 0) })
		want("all were taken, and two go to the device", receive(), time.Millisecond, 3)
		take(0, 1)
		want("nothing moves", receive(), windowPatience, 2)
	})
}

func data(size int) []byte {
	return append([]byte{device.MessageTransportType}, make([]byte, size-1)...)
}

// discard is a device that takes everything.
type discard struct{ tun.Device }

func (discard) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }
