package derp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestShutdownTellsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spread, patience = 10 * time.Second, time.Minute
		r := newRelay(t, ServerConfig{})
		members := []member{r.join(t), r.joinByWebSocket(t), r.join(t)}
		members[2].send(t, members[0], "before")
		members[0].wantPacket(t, "it works", members[2], "before")
		done := make(chan error)
		go func() { done <- r.Shutdown(t.Context(), spread, patience) }()
		times := map[time.Duration]bool{}
		for _, m := range members {
			m.want(t, "each is told", func(f Frame) bool {
				times[f.ReconnectIn] = true
				return f.Type == FrameRestarting && f.ReconnectIn < spread && f.TryFor == patience
			})
			m.Close()
		}
		if len(times) < 2 {
			t.Error("all shall come back at the same time")
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := Dial(t.Context(), r.dialConfig(members[0].priv)); err == nil {
			t.Error("the relay still takes clients in")
		}
	})
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a := r.join(t) // reads nothing
		defer a.Close()
		start := time.Now()
		if err := r.Shutdown(t.Context(), 0, 0); err != nil || time.Since(start) > shutdownTimeout {
			t.Errorf("Shutdown took %v: %v", time.Since(start), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		_, half := r.rawLogin(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.Shutdown(ctx, 0, 0); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Shutdown took %v: %v", time.Since(start), err)
		}
		if _, err := half.ReadByte(); err == nil {
			t.Error("a connection that logs in is still open")
		}
	})
}
