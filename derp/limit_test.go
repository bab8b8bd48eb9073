package derp

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{Limit: Limit{BytesPerSecond: 10_000, Burst: 100_000}})
		a := r.join(t)
		if a.limit == nil || a.limit.perSecond != 10_000 || a.limit.burst != 100_000 {
			t.Errorf("the client knows of %+v", a.limit)
		}
	})
}

func TestWhoIgnoresTheLimitIsReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 10_000, 100_000
		r := newRelay(t, ServerConfig{Limit: Limit{BytesPerSecond: perSecond, Burst: burst}})
		a, b, c := r.join(t), r.join(t), r.join(t)
		a.limit = nil
		packet := make([]byte, 1000-headerSize-len(a.public().Raw32()))
		const n = 150
		go func() {
			for range n {
				a.Send(b.public(), packet)
			}
			a.Flush()
		}()
		start := time.Now()
		for range n {
			b.want(t, "nothing is lost", func(f Frame) bool { return f.Type == FrameRecvPacket })
		}
		took := time.Since(start).Round(time.Second)
		if want := (n*1000 - burst) / perSecond * time.Second; took != want {
			t.Errorf("%d bytes took %v, want %v", n*1000, took, want)
		}
		c.send(t, b, "hello")
		b.wantPacket(t, "the limit is each client's own", c, "hello")
	})
}

func TestCloseDoesNotWaitForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{Limit: Limit{BytesPerSecond: 1}})
		a, b := r.join(t), r.join(t)
		a.limit = nil
		go func() {
			for range 3 {
				a.Send(b.public(), make([]byte, MaxPacketSize))
			}
			a.Flush()
		}()
		b.want(t, "the first packet comes", func(f Frame) bool { return f.Type == FrameRecvPacket })
		synctest.Wait()
		start := time.Now()
		r.Close()
		if time.Since(start) > 0 {
			t.Errorf("Close took %v", time.Since(start))
		}
	})
}
