package reorder

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

// packetOf returns the packet of a session with a counter.
func packetOf(index uint32, counter uint64) []byte {
	p := make([]byte, headerSize+16)
	p[0] = typeTransport
	binary.LittleEndian.PutUint32(p[4:], index)
	binary.LittleEndian.PutUint64(p[8:], counter)
	return p
}

// A line feeds packets to a Buffer, and keeps the counters of what goes on.
type line struct {
	Buffer[string]
	out []uint64
}

// add gives the packet to the buffer, as one that comes alone.
func (l *line) add(now time.Time, index uint32, counter uint64) {
	l.Expire(now)
	l.drain()
	p := packetOf(index, counter)
	if l.Add(now, p, "sender") {
		l.out = append(l.out, counter)
	}
	l.drain()
}

func (l *line) drain() {
	for {
		data, _, ok := l.Next()
		if !ok {
			return
		}
		_, counter, _ := parse(data)
		l.out = append(l.out, counter)
	}
}

// at is a packet that comes so many microseconds after the start.
type at struct {
	us      int
	counter uint64
}

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		come []at
		want string
	}{
		"in order":                      {[]at{{0, 7}, {1, 8}, {2, 9}}, "7 8 9"},
		"one is late":                   {[]at{{0, 0}, {100, 2}, {200, 3}, {4000, 1}, {4100, 4}}, "0 1 2 3 4"},
		"two are late":                  {[]at{{0, 0}, {100, 2}, {200, 4}, {300, 5}, {1000, 3}, {1100, 1}, {1200, 6}}, "0 1 2 3 4 5 6"},
		"it is lost":                    {[]at{{0, 0}, {100, 2}, {200, 3}, {10_100, 4}, {10_200, 5}}, "0 2 3 4 5"},
		"two are lost":                  {[]at{{0, 0}, {100, 2}, {5000, 4}, {10_200, 5}, {15_200, 6}}, "0 2 4 5 6"},
		"it is later than anyone waits": {[]at{{0, 0}, {100, 2}, {10_100, 3}, {10_200, 1}, {10_300, 4}}, "0 2 3 1 4"},
		"it comes twice":                {[]at{{0, 0}, {100, 2}, {200, 2}, {300, 1}, {400, 1}}, "0 1 2 2 1"},
		"the counter jumps":             {[]at{{0, 0}, {100, 2}, {200, 9000}, {300, 9001}}, "0 2 9000 9001"},
		"and jumps back":                {[]at{{0, 0}, {100, 1 << 60}, {200, 4}, {300, 5}}, "0 1152921504606846976 4 5"},
	} {
		t.Run(name, func(t *testing.T) {
			var l line
			for _, p := range c.come {
				l.add(start.Add(time.Duration(p.us)*time.Microsecond), 1, p.counter)
			}
			l.Expire(start.Add(time.Hour))
			l.drain()
			if got := strings.Trim(fmt.Sprint(l.out), "[]"); got != c.want {
				t.Errorf("goes on: %s, want %s", got, c.want)
			}
			if l.count != 0 || len(l.holding) != 0 {
				t.Errorf("%d packets of %d sessions are left", l.count, len(l.holding))
			}
		})
	}
}

// Each packet is late by up to 5 ms with a probability, or lost.
func stream(late, lost float64) (come []at) {
	random := rand.New(rand.NewPCG(1, 2))
	for counter := range uint64(100_000) {
		us := int(counter) * 60
		switch p := random.Float64(); {
		case p < lost:
			continue
		case p < lost+late:
			us += 1000 + random.IntN(4000)
		}
		come = append(come, at{us, counter})
	}
	slices.SortStableFunc(come, func(a, b at) int { return a.us - b.us })
	return come
}

// inversions counts the packets that come after a later one.
func inversions(out []uint64) (n int) {
	highest := uint64(0)
	for _, counter := range out {
		if counter < highest {
			n++
		}
		highest = max(highest, counter)
	}
	return n
}

// Lateness and loss as on a path across the world.
func TestStreams(t *testing.T) {
	for _, c := range []struct {
		late, lost float64
		most       int // packets that go on out of order
	}{
		{0, 0, 0},
		{0.005, 0, 0},
		{0.05, 0, 0},
		{0.005, 0.001, 0},
		{0, 0.01, 0},
	} {
		t.Run(fmt.Sprintf("%g late, %g lost", c.late, c.lost), func(t *testing.T) {
			var l line
			come := stream(c.late, c.lost)
			for _, p := range come {
				l.add(start.Add(time.Duration(p.us)*time.Microsecond), 1, p.counter)
			}
			l.Expire(start.Add(time.Hour))
			l.drain()
			if len(l.out) != len(come) {
				t.Errorf("%d of %d go on", len(l.out), len(come))
			}
			if n := inversions(l.out); n > c.most {
				t.Errorf("%d of %d are out of order, want %d at most", n, len(come), c.most)
			}
		})
	}
}

// Where packets are only lost, none is held when that has been seen.
func TestLossIsNotWaitedFor(t *testing.T) {
	var l line
	const learning = 2000
	for _, p := range stream(0, 0.01) {
		l.add(start.Add(time.Duration(p.us)*time.Microsecond), 1, p.counter)
		if _, held := l.Deadline(); held && p.counter > learning {
			t.Fatalf("at packet %d some are held", p.counter)
		}
	}
}

// Sessions do not wait for each other, but for the room that they share.
func TestSessions(t *testing.T) {
	var l line
	for _, index := range []uint32{1, 2} {
		l.add(start, index, 0)
	}
	l.add(start, 1, 2)
	l.add(start, 2, 1)
	if want := []uint64{0, 0, 1}; !slices.Equal(l.out, want) {
		t.Errorf("goes on: %d, want %d", l.out, want)
	}
	l.add(start, 1+maxSessions, 7) // takes the place of session 1
	if want := []uint64{0, 0, 1, 2, 7}; !slices.Equal(l.out, want) {
		t.Errorf("goes on: %d, want %d", l.out, want)
	}
}

func TestHeldIsBounded(t *testing.T) {
	var l line
	l.add(start, 1, 0)
	for counter := range uint64(3 * maxHeld) {
		l.add(start, 1, 2+counter)
		if l.count > maxHeld || l.bytes > maxBytes+64<<10 {
			t.Fatalf("%d packets and %d bytes are held", l.count, l.bytes)
		}
	}
	if at, ok := l.Deadline(); ok && at.After(start.Add(maxPatience)) {
		t.Errorf("the deadline is %v after the start", at.Sub(start))
	}
}

// FuzzBuffer gives it packets of a few sessions; all go on, once each.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0, 1, 0, 5, 0, 4, 200, 3, 0, 9})
	f.Add([]byte{255, 0, 1, 255, 130, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var l line
		now, added := start, 0
		counters := [2]uint64{}
		for ; len(steps) >= 2; steps = steps[2:] {
			now = now.Add(time.Duration(steps[0]) * 50 * time.Microsecond)
			index := steps[1] & 1
			counters[index] += uint64(int64(int8(steps[1])) >> 1)
			if steps[0] == 255 {
				counters[index] <<= 8
			}
			l.add(now, uint32(index), counters[index])
			added++
		}
		l.Expire(now.Add(maxPatience))
		l.drain()
		if len(l.out) != added || l.count != 0 {
			t.Errorf("of %d packets %d go on, %d are left", added, len(l.out), l.count)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	for name, late := range map[string]uint64{"in order": 1 << 40, "one of 200 late": 200} {
		b.Run(name, func(b *testing.B) {
			var l Buffer[string]
			p := packetOf(1, 0)
			now := start
			add := func(counter uint64) {
				binary.LittleEndian.PutUint64(p[8:], counter)
				l.Expire(now)
				l.Add(now, p, "")
				for {
					if _, _, ok := l.Next(); !ok {
						return
					}
				}
			}
			b.ReportAllocs()
			for i := range uint64(b.N) {
				now = now.Add(60 * time.Microsecond)
				if i%late != late/2 {
					add(i)
				}
				if i%late == late/2+50 { // 3 ms later
					add(i - 50)
				}
			}
		})
	}
}
