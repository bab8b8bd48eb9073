package wg

import (
	"testing"
	"testing/synctest"
	"time"
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
		w.out.Add(99)
		if d := waited(); d != 0 {
			t.Errorf("with room it waits %v", d)
		}
		w.out.Add(60)
		go func() { // small steps, of which the last gives room
			for range 6 {
				time.Sleep(windowPatience / 2)
				w.sent(10)
			}
		}()
		if d := waited(); d != 3*windowPatience {
			t.Errorf("it waits %v", d)
		}
		w.out.Store(250)
		go func() {
			time.Sleep(time.Millisecond)
			w.sent(151)
		}()
		if d := waited(); d != time.Millisecond {
			t.Errorf("when there is room it goes on after %v", d)
		}
		synctest.Wait()
		w.out.Store(100)
		if d := waited(); d != windowPatience || w.out.Load() != 0 {
			t.Errorf("when nothing moves it waits %v, and takes %d to be on their way", d, w.out.Load())
		}
		w.sent(5)
		if n := w.out.Load(); n != 0 {
			t.Errorf("WireGuard's own packets make room: %d", n)
		}
	})
}
