package router

import (
	"testing"
	"time"
)

func TestPerfectLinkTakesNoTime(t *testing.T) {
	w := newLine(Link{}, 1)
	for i := range 100 {
		now := time.Duration(i)
		if at, ok := w.take(now, 1500); at != now || !ok {
			t.Fatalf("a packet of %v arrives at %v: %v", now, at, ok)
		}
	}
}

func TestRateSpacesPackets(t *testing.T) {
	w := newLine(Link{Rate: 8e6, Queue: 4000, Delay: time.Second}, 1) // a byte in a microsecond
	for i, want := range []time.Duration{1000, 2000, 3000, 4000} {
		at, ok := w.take(0, 1000)
		if want = time.Second + want*time.Microsecond; !ok || at != want {
			t.Errorf("packet %d arrives at %v: %v, want %v", i, at, ok, want)
		}
	}
	if _, ok := w.take(0, 1000); ok {
		t.Error("a packet finds room in a queue that is full")
	}
	if at, ok := w.take(time.Millisecond, 1000); !ok || at != time.Second+5*time.Millisecond {
		t.Errorf("a packet that comes when one has left arrives at %v: %v", at, ok)
	}
}

func TestLossAndReorderAreAsOftenAsTheyShould(t *testing.T) {
	const packets = 200_000
	w := newLine(Link{Loss: 0.01, Reorder: 0.005, LateFrom: time.Millisecond, LateTo: 5 * time.Millisecond}, 1)
	var lost, late int
	for range packets {
		at, ok := w.take(0, 100)
		switch {
		case !ok:
			lost++
		case at > 0:
			late++
			if at < time.Millisecond || at > 5*time.Millisecond {
				t.Fatalf("a packet is late by %v", at)
			}
		}
	}
	if lost < 1800 || lost > 2200 || late < 850 || late > 1150 {
		t.Errorf("of %d packets %d are lost and %d late, want 1 %% and 0.5 %%", packets, lost, late)
	}
}
