package tunwrap

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/tsmp"
)

func TestTapsSeeAll(t *testing.T) {
	d, in, _ := newDevice(t)
	yes, no, out := packet(protoTCP, b4, a4, 1, 80), packet(protoUDP, b4, a4, 1, 81), packet(protoUDP, a4, b4, 9, 53)
	ping := message(t, b4, a4, tsmp.Ping{})
	var first, second []Seen
	look := func(at *[]Seen) Tap {
		return func(s Seen) {
			s.Data = bytes.Clone(s.Data)
			*at = append(*at, s)
		}
	}
	removeFirst := d.Tap(look(&first))
	removeSecond := d.Tap(look(&second))
	in.toRead = [][]byte{out}
	sent(t, d)
	write(t, d, yes, no)
	removeFirst()
	write(t, d, ping)
	removeSecond()
	removeSecond()
	write(t, d, yes)
	sent(t, d)
	want := []Seen{
		{filter.Parse(out), out, true, 0},
		{filter.Parse(yes), yes, false, filter.AcceptRule},
		{filter.Parse(no), no, false, filter.DropNoRule},
		{filter.Parse(ping), ping, false, filter.AcceptTSMP},
	}
	same := func(a, b Seen) bool {
		return a.Packet == b.Packet && bytes.Equal(a.Data, b.Data) && a.Outgoing == b.Outgoing && a.Verdict == b.Verdict
	}
	if !slices.EqualFunc(first, want[:3], same) {
		t.Errorf("the first tap saw %+v", first)
	}
	if !slices.EqualFunc(second, want, same) {
		t.Errorf("the second tap saw %+v", second)
	}
}

func TestTapAllocatesNothing(t *testing.T) {
	d := New(new(sink), nil)
	d.SetFilter(allowing(t, []netip.Addr{a4}, 80))
	seen := 0
	defer d.Tap(func(s Seen) { seen += len(s.Data) })()
	bufs := [][]byte{append(make([]byte, room), packet(protoTCP, b4, a4, 1, 80)...)}
	out, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
	if n := testing.AllocsPerRun(100, func() {
		d.Write(bufs, room)
		d.Read(out, sizes, room)
	}); n != 0 || seen == 0 {
		t.Errorf("%v allocations for two packets, %d bytes seen", n, seen)
	}
}
