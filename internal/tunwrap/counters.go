package tunwrap

import (
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/filter"
)

// Counters count IP packets since the device was made.
type Counters struct {
	PacketsOut, BytesOut uint64
	// PacketsIn and BytesIn count what was let in.
	PacketsIn, BytesIn uint64
	// Dropped counts what was not, by verdict.
	Dropped map[filter.Verdict]uint64
}

type counters struct {
	packetsOut, bytesOut, bytesIn atomic.Uint64
	verdicts                      [filter.Verdicts]atomic.Uint64
}

func (c *counters) sent(packets, bytes uint64) {
	c.packetsOut.Add(packets)
	c.bytesOut.Add(bytes)
}

func (c *counters) received(v filter.Verdict, size int) {
	c.verdicts[v].Add(1)
	if v.Accepted() {
		c.bytesIn.Add(uint64(size))
	}
}

// Counters returns the counts of now.
func (d *Device) Counters() Counters {
	c := Counters{
		PacketsOut: d.counters.packetsOut.Load(),
		BytesOut:   d.counters.bytesOut.Load(),
		BytesIn:    d.counters.bytesIn.Load(),
		Dropped:    make(map[filter.Verdict]uint64),
	}
	for i := range d.counters.verdicts {
		v, n := filter.Verdict(i), d.counters.verdicts[i].Load()
		switch {
		case v.Accepted():
			c.PacketsIn += n
		case n > 0:
			c.Dropped[v] = n
		}
	}
	return c
}
