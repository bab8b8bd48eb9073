package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A busyServer has connections that end when busy is closed.
type busyServer struct {
	busy     chan struct{}
	fails    chan error
	shutdown chan struct{}
}

func newBusyServer() *busyServer {
	return &busyServer{make(chan struct{}), make(chan error, 1), make(chan struct{})}
}

func (s *busyServer) Serve(ctx context.Context, _ net.Listener) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.shutdown:
		return errors.New("shut down")
	case err := <-s.fails:
		return err
	}
}

func (s *busyServer) Shutdown(ctx context.Context) error {
	close(s.shutdown)
	select {
	case <-s.busy:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serving runs a free and a busy server, with a minute of grace.
func serving(ctx context.Context) (free, busy *busyServer, log *output, ended <-chan error) {
	free, busy, log = newBusyServer(), newBusyServer(), newOutput()
	close(free.busy)
	services := []service{{"free", free, make([]net.Listener, 2)}, {"busy", busy, make([]net.Listener, 1)}}
	done := make(chan error, 1)
	go func() { done <- serveAll(ctx, services, time.Minute, slog.New(slog.NewTextHandler(log, nil))) }()
	return free, busy, log, done
}

func TestStopWaitsForWhatIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		_, busy, log, ended := serving(ctx)
		synctest.Wait()
		stop()
		time.Sleep(30 * time.Second)
		if text := log.String(); !strings.Contains(text, `of=busy`) {
			t.Errorf("nobody is told what it waits for: %s", text)
		}
		begin := time.Now()
		close(busy.busy)
		if err := <-ended; err != nil || time.Since(begin) != 0 {
			t.Errorf("it ended with %v after %v", err, time.Since(begin))
		}
	})
}

func TestStopEndsAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		_, _, log, ended := serving(ctx)
		begin := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(begin) != time.Minute {
			t.Errorf("it ended with %v after %v", err, time.Since(begin))
		}
		if text := log.String(); !strings.Contains(text, `level=WARN msg="closed connections that were still open" of=busy`) {
			t.Errorf("the log says: %s", text)
		}
	})
}

func TestStopIsQuickWhenNothingIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		_, busy, log, ended := serving(ctx)
		close(busy.busy)
		begin := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(begin) != 0 {
			t.Errorf("it ended with %v after %v", err, time.Since(begin))
		}
		if text := log.String(); strings.Contains(text, "waiting") {
			t.Errorf("the log says: %s", text)
		}
	})
}

func TestAFailureEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, busy, _, ended := serving(t.Context())
		close(busy.busy)
		broken := errors.New("broken")
		free.fails <- broken
		if err := <-ended; !errors.Is(err, broken) || !strings.Contains(err.Error(), "free") {
			t.Errorf("it ended with %v", err)
		}
	})
}
