package netstack

import (
	"fmt"
	"testing"
	"time"
)

// A way carries the packets of one connection: at a rate, behind a queue without
// end, in a round trip that is never shorter than trip.
type way struct {
	rate float64 // bytes per second
	trip time.Duration

	now, free time.Duration // since the beginning; when all that was sent has left
	packets   []inFlight
	window    int           // of TCP, in packets, which never loses any
	smooth    time.Duration // the round trip as TCP knows it
}

const packetSize = 1200

// inFlight is a packet that is under way.
type inFlight struct{ sent, acked time.Duration }

// under is how many bytes are under way.
func (w *way) under() int { return len(w.packets) * packetSize }

// carries is how many bytes make a round trip at full rate.
func (w *way) carries() float64 { return w.rate * w.trip.Seconds() }

// pass lets time pass: TCP sends what it has, and acknowledgements come.
func (w *way) pass(d time.Duration, queued *int) {
	for end := w.now + d; w.now < end; w.now += 100 * time.Microsecond {
		for len(w.packets) > 0 && w.packets[0].acked <= w.now {
			trip := w.now - w.packets[0].sent
			if w.smooth == 0 {
				w.smooth = trip
			}
			w.smooth += (trip - w.smooth) / time.Duration(4*len(w.packets)) // RFC 7323, appendix G
			w.packets = w.packets[1:]
			*queued -= packetSize
			w.window++
		}
		for len(w.packets) < w.window && *queued-w.under() >= packetSize {
			w.free = max(w.free, w.now) + time.Duration(packetSize/w.rate*float64(time.Second))
			w.packets = append(w.packets, inFlight{w.now, w.free + w.trip})
		}
	}
}

// A writer always has something to write.
type writer struct {
	*way
	pipe         pipe
	sent, queued int
	buffer       int // its size
}

// write writes for a time. It returns the most that was under way, and the rate.
func (w *writer) write(d time.Duration) (most int, rate float64) {
	before := w.sent - w.queued
	for end := w.now + d; w.now < end; {
		if room := w.buffer - w.queued; room > 0 {
			w.sent += room
			w.queued += room
		}
		limit, look := w.pipe.full(time.Unix(0, 0).Add(w.now), buffered{written: w.sent, size: w.buffer, share: tcpSendMax, trip: w.smooth})
		if limit > 0 {
			w.buffer = limit
		}
		if look == 0 {
			look = 10 * time.Millisecond
		}
		w.pass(look, &w.queued)
		most = max(most, w.under())
	}
	return most, float64(w.sent-w.queued-before) / d.Seconds()
}

func newWriter(megabits float64, trip time.Duration) *writer {
	return &writer{way: &way{rate: megabits * 1e6 / 8, trip: trip, window: 10}, buffer: tcpBufferDefault}
}

// wantFull checks that a path is used, and its queue little.
func (w *writer) wantFull(t *testing.T, sentence string, d time.Duration) {
	t.Helper()
	most, rate := w.write(d)
	if rate < 0.97*w.rate {
		t.Errorf("%s: %.1f of %.1f Mbit/s", sentence, rate*8/1e6, w.rate*8/1e6)
	}
	if limit := max(1.7*w.carries(), minSize); float64(most) > limit {
		t.Errorf("%s: %d bytes are under way, want %.0f at most: the path carries %.0f", sentence, most, limit, w.carries())
	}
}

func TestPipe(t *testing.T) {
	for _, c := range []struct {
		megabits float64
		trip     time.Duration
	}{{5, 100 * time.Millisecond}, {50, 20 * time.Millisecond}, {100, 60 * time.Millisecond}, {200, 60 * time.Millisecond}, {1000, 10 * time.Millisecond}} {
		t.Run(fmt.Sprintf("%v Mbit per second, %v", c.megabits, c.trip), func(t *testing.T) {
			w := newWriter(c.megabits, c.trip)
			if most, _ := w.write(5 * time.Second); float64(most) > max(2*w.carries(), 2*minSize) {
				t.Errorf("%d bytes are under way before the rate is known, the path carries %.0f", most, w.carries())
			}
			w.wantFull(t, "when it is known", 9*time.Second)
			w.wantFull(t, "in minutes", 2*time.Minute)
		})
	}
}

func TestShortPathsAreShared(t *testing.T) {
	var p pipe
	b := buffered{size: tcpSendMax, share: tcpSendMax, trip: time.Millisecond}
	want := func(sentence string, want int) {
		t.Helper()
		if size, look := p.full(time.Unix(0, 0), b); size != want || look != 0 {
			t.Errorf("%s: size %d, look after %v; want %d and not", sentence, size, look, want)
		}
	}
	want("alone", 0)
	b.share = tcpSendMax / 2
	want("with another", tcpSendMax/2)
	b.size = tcpSendMax / 2
	want("and still", tcpSendMax/2)
	b.share = tcpSendMax
	want("alone again", tcpSendMax)

	p = pipe{}
	b.size, b.share = tcpBufferDefault, tcpSendMax/2
	want("one that needs less", 0)
}

// Paths change below a connection.
func TestPipeFollows(t *testing.T) {
	for name, change := range map[string]func(*way){
		"it becomes slower":  func(w *way) { w.rate /= 10 },
		"it becomes faster":  func(w *way) { w.rate *= 2 },
		"it becomes longer":  func(w *way) { w.trip *= 3 },
		"it becomes shorter": func(w *way) { w.trip /= 4 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(80, 40*time.Millisecond)
			w.write(12 * time.Second)
			change(w.way)
			w.write(25 * time.Second)
			w.wantFull(t, "half a minute later", 15*time.Second)
		})
	}
}

// On a short path gVisor chooses, also when a long one becomes short.
func TestPipeIsForLongWays(t *testing.T) {
	w := newWriter(1000, time.Millisecond)
	w.write(time.Second)
	if w.buffer != tcpBufferDefault {
		t.Errorf("on a short path the buffer is set to %d", w.buffer)
	}
	w = newWriter(100, 50*time.Millisecond)
	w.write(5 * time.Second)
	w.trip = time.Millisecond
	w.write(20 * time.Second)
	if w.buffer != tcpSendMax {
		t.Errorf("on a path that has become short the buffer is %d, want %d", w.buffer, tcpSendMax)
	}
}

// A writer who pauses has found the rate all the same.
func TestPipeWithPauses(t *testing.T) {
	w := newWriter(100, 50*time.Millisecond)
	w.write(5 * time.Second)
	size := w.buffer
	for range 100 {
		w.pass(300*time.Millisecond, &w.queued)
		w.write(200 * time.Millisecond)
	}
	if w.buffer < size*8/10 || w.buffer > size*12/10 {
		t.Errorf("the buffer was %d, after pauses it is %d", size, w.buffer)
	}
}
