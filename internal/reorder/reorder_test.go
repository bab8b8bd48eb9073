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
	// What follows packet 2, which is late by 2 ms, is waited for.
	late := []at{{0, 0}, {100, 1}, {200, 3}, {2200, 2}}
	for name, c := range map[string]struct {
		come []at
		want string
	}{
		"in order":                     {[]at{{0, 7}, {1, 8}, {2, 9}}, "7 8 9"},
		"the first is late":            {late, "0 1 3 2"},
		"the next is held":             {append(late, at{3000, 5}, at{3100, 6}, at{4000, 4}, at{4100, 7}), "0 1 3 2 4 5 6 7"},
		"two are late":                 {append(late, at{3000, 5}, at{3100, 7}, at{3200, 8}, at{4000, 6}, at{4100, 4}), "0 1 3 2 4 5 6 7 8"},
		"it is lost":                   {append(late, at{3000, 5}, at{3100, 6}, at{6200, 7}, at{6300, 8}), "0 1 3 2 5 6 7 8"},
		"two are lost":                 {append(late, at{3000, 5}, at{4000, 7}, at{6500, 8}, at{7500, 9}), "0 1 3 2 5 7 8 9"},
		"it is later than the first":   {append(late, at{3000, 5}, at{6300, 6}, at{6400, 4}, at{7000, 8}, at{11_000, 7}), "0 1 3 2 5 6 4 7 8"},
		"it comes twice":               {append(late, at{3000, 5}, at{3100, 5}, at{3200, 4}, at{3300, 4}), "0 1 3 2 4 5 5 4"},
		"much later than anyone waits": {[]at{{0, 0}, {100, 2}, {90_000, 1}, {90_100, 4}, {90_200, 3}}, "0 2 1 4 3"},
		"the counter jumps":            {append(late, at{3000, 5}, at{3100, 9000}, at{3200, 9001}), "0 1 3 2 5 9000 9001"},
		"and jumps back":               {append(late, at{3000, 1 << 60}, at{3100, 4}, at{3200, 5}), "0 1 3 2 1152921504606846976 4 5"},
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
		{0.005, 0, 10},
		{0.05, 0, 20},
		{0.005, 0.001, 10},
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

// Where packets are only lost, none is held.
func TestLossIsNotWaitedFor(t *testing.T) {
	var l line
	for _, p := range stream(0, 0.01) {
		l.add(start.Add(time.Duration(p.us)*time.Microsecond), 1, p.counter)
		if _, held := l.Deadline(); held {
			t.Fatalf("at packet %d some are held", p.counter)
		}
	}
}

// Sessions do not wait for each other, but for the room that they share.
func TestSessions(t *testing.T) {
	var l line
	learn := func(index uint32) {
		for _, counter := range []uint64{0, 2, 1} {
			l.add(start, index, counter)
		}
	}
	learn(1)
	learn(2)
	l.add(start, 1, 4)
	l.out = nil
	l.add(start, 2, 3)
	if !slices.Equal(l.out, []uint64{3}) {
		t.Errorf("session 2 waits for session 1: %d", l.out)
	}
	l.add(start, 1+maxSessions, 0) // takes the place of session 1
	if want := []uint64{3, 4, 0}; !slices.Equal(l.out, want) {
		t.Errorf("goes on: %d, want %d", l.out, want)
	}
}

func TestHeldIsBounded(t *testing.T) {
	var l line
	for _, counter := range []uint64{0, 2, 1} {
		l.add(start, 1, counter)
	}
	for counter := range uint64(3 * maxHeld) {
		l.add(start, 1, 4+counter)
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
