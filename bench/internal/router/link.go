// Package router is a router between networks that has the properties of long
// ways: delay, a rate, a queue, loss and reordering. It runs in a process of its
// own, between TUN devices, for kernels that have nothing of the kind.
package router

import (
	"math/rand/v2"
	"time"
)

// Link is one direction of a way. The zero value is a perfect one.
type Link struct {
	Delay time.Duration // of every packet
	// Rate is in bits per second; 0 is as fast as the machine.
	Rate float64
	// Queue is how many bytes wait for their turn at most; what comes then is
	// dropped.
	Queue int
	// Loss is the part of packets that is lost, from 0 to 1.
	Loss float64
	// Reorder is the part of packets that is late, by LateFrom to LateTo: later
	// ones overtake them.
	Reorder          float64
	LateFrom, LateTo time.Duration
}

// line decides on the packets of a link: no clock, no packets. Times are since
// any moment.
type line struct {
	Link
	dice *rand.Rand
	free time.Duration // when all that was taken has left
}

// newLine makes a line. Of the same seed they lose and delay the same packets.
func newLine(l Link, seed uint64) *line {
	return &line{Link: l, dice: rand.New(rand.NewPCG(seed, seed))}
}

// take says when a packet of that size arrives that comes now; false means that
// it does not.
func (w *line) take(now time.Duration, size int) (arrives time.Duration, ok bool) {
	w.free = max(w.free, now)
	if w.Rate > 0 {
		waiting := float64(w.free-now) / float64(time.Second) * w.Rate / 8
		if waiting+float64(size) > float64(w.Queue) {
			return 0, false
		}
		w.free += time.Duration(float64(size) * 8 / w.Rate * float64(time.Second))
	}
	lost, late := w.dice.Float64() < w.Loss, w.dice.Float64() < w.Reorder
	arrives = w.free + w.Delay
	if late {
		arrives += w.LateFrom + time.Duration(w.dice.Float64()*float64(w.LateTo-w.LateFrom))
	}
	return arrives, !lost
}
