package coord

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestPace(t *testing.T) {
	var p pace
	now := epoch
	for i := range requestBurst {
		if wait := p.take(now); wait != 0 {
			t.Fatalf("request %d of a burst waits %v", i, wait)
		}
	}
	for i := range 3 {
		if wait, want := p.take(now), time.Duration(i+1)*requestInterval; wait != want {
			t.Errorf("request %d after it waits %v, want %v", i, wait, want)
		}
	}
	now = now.Add(time.Hour)
	if wait := p.take(now); wait != 0 {
		t.Errorf("an hour later a request waits %v", wait)
	}
}

// TestBusyMachine has a machine that reports without a pause. Others do not
// wait for it.
func TestBusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		busy, other := ts.machine(), ts.machine()
		busy.join("busy", authKey)
		other.join("other", authKey)
		start := time.Now()
		for range 2 * requestBurst {
			busy.report(tailcfg.MapRequest{Hostinfo: &tailcfg.Hostinfo{Hostname: "busy"}})
		}
		if took, least := time.Since(start), (requestBurst-1)*requestInterval; took < least {
			t.Errorf("%d reports took %v, want at least %v", 2*requestBurst, took, least)
		}
		start = time.Now()
		other.report(tailcfg.MapRequest{})
		if took := time.Since(start); took != 0 {
			t.Errorf("another machine's report took %v", took)
		}
	})
}
