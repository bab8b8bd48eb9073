package tunwrap

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/filter"
)

// Seen is a packet that passes by.
type Seen struct {
	Packet   filter.Packet
	Data     []byte // the packet; valid during the call, and not to be changed
	Outgoing bool
	Verdict  filter.Verdict // on a packet that has come in
}

// A Tap is called with every packet, one after the other, before it is passed on
// or dropped. All other packets wait for it; it must not allocate, if the one who
// looks on is not to slow down what he sees.
type Tap func(Seen)

// taps are those of a device. Without any they cost an atomic load for a batch.
type taps struct {
	mu  sync.Mutex
	all atomic.Pointer[tapList] // changed under mu, and not in place
}

type tapList []*Tap

// Tap adds a tap until remove is called. What is under way then may still be
// seen.
func (d *Device) Tap(t Tap) (remove func()) {
	added := &t
	d.taps.change(func(l tapList) tapList { return append(l, added) })
	return func() {
		d.taps.change(func(l tapList) tapList {
			return slices.DeleteFunc(l, func(other *Tap) bool { return other == added })
		})
	}
}

func (t *taps) load() *tapList { return t.all.Load() }

func (t *taps) change(edit func(tapList) tapList) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list tapList
	if old := t.all.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = edit(list); len(list) == 0 {
		t.all.Store(nil)
		return
	}
	t.all.Store(&list)
}

func (l *tapList) see(s Seen) {
	if l == nil {
		return
	}
	for _, t := range *l {
		(*t)(s)
	}
}
