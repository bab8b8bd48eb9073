package netcheck

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// FuzzState does what the bytes say, two of them a step, and holds the State
// to its promises: the deadline moves on, requests are few, the home can be
// home, and forged responses change nothing.
func FuzzState(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 7, 1, 3, 11, 1, 11, 20, 4, 0, 6, 1, 11, 200})
	f.Add([]byte{1, 3, 0, 255, 2, 1, 11, 250, 3, 0, 3, 1, 4, 1, 4, 0, 5, 9, 11, 255, 11, 255})
	f.Add([]byte{1, 0, 0, 15, 11, 1, 7, 1, 7, 2, 8, 3, 9, 1, 10, 1, 11, 255, 2, 0, 11, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 400 {
			return
		}
		w := newFuzzWorld(t)
		for ; len(steps) >= 2; steps = steps[2:] {
			w.step(steps[0]%13, steps[1])
			w.settle()
		}
		w.checkIdle()
		checkPace(t, w.sentAt)
	})
}

type fuzzWorld struct {
	*world
	regions *derpmap.Map
	open    []Probe      // not yet answered
	https   []HTTPSProbe // likewise
}

func newFuzzWorld(t *testing.T) *fuzzWorld { return &fuzzWorld{world: newWorld(t)} }

func (w *fuzzWorld) step(kind, arg byte) {
	switch kind {
	case 0:
		w.regions = fuzzMap(int(arg))
		w.s.SetMap(w.now, w.regions)
	case 1:
		w.s.SetNetwork(w.now, Network{IPv4: arg&1 != 0, IPv6: arg&2 != 0})
	case 2:
		w.s.SetActive(arg&1 != 0)
	case 3:
		w.s.Refresh(w.now)
	case 4:
		w.answer(arg)
	case 5:
		w.forge(arg)
	case 6:
		if len(w.open) > 0 {
			w.s.HandleFailed(w.open[0].TxID)
			w.open = w.open[1:]
		}
	case 7, 8:
		w.s.HandleRelay(w.now, int(arg), kind == 7)
	case 9:
		w.s.HandleFrame(w.now, int(arg))
	case 10:
		w.measure(arg)
	case 11:
		w.pass(time.Duration(arg) * ms)
	case 12:
		w.pass(time.Duration(arg) * time.Second)
	}
}

// fuzzMap has some regions that can be home and some that cannot, and some
// that cannot be asked.
func fuzzMap(arg int) *derpmap.Map {
	if arg == 0 {
		return nil
	}
	m := &derpmap.Map{
		Regions:    make(map[int]*derpmap.Region),
		HomeParams: &derpmap.HomeParams{RegionScore: map[int]float64{arg % 8: float64(arg) / 64}},
	}
	for id := range arg % 32 {
		node := &derpmap.Node{Name: string(rune('a' + id)), HostName: "relay.test", STUNOnly: id%5 == 4}
		if id%7 == 6 {
			node.STUNPort = -1
		}
		m.Regions[id] = &derpmap.Region{RegionID: id, Avoid: (id^arg)&64 != 0, NoMeasureNoHome: id%11 == 10, Nodes: []*derpmap.Node{node, nil}}
	}
	m.Regions[arg<<12] = nil
	return m
}

// answer answers an open request, from the right server or as from another.
func (w *fuzzWorld) answer(arg byte) {
	if len(w.open) == 0 {
		return
	}
	i := int(arg) % len(w.open)
	p := w.open[i]
	w.open = append(w.open[:i], w.open[i+1:]...)
	mapped := netip.AddrPortFrom(our4.Addr(), 1000+uint16(arg))
	if arg&1 != 0 {
		mapped = our6
	}
	w.s.HandleResponse(w.now, p.TxID, address(p), mapped)
}

// measure has a region answer over HTTPS, or not.
func (w *fuzzWorld) measure(arg byte) {
	if len(w.https) == 0 {
		return
	}
	i := int(arg) % len(w.https)
	w.s.HandleProbe(w.https[i], time.Duration(int8(arg))*ms, arg&1 != 0)
	w.https = append(w.https[:i], w.https[i+1:]...)
}

func (w *fuzzWorld) forge(arg byte) {
	evil := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, arg}), 666)
	before, deadline := w.s.Report(), w.s.Deadline()
	w.s.HandleResponse(w.now, anyTx, evil, evil)
	if len(w.open) > 0 {
		p := w.open[int(arg)%len(w.open)]
		w.s.HandleResponse(w.now, p.TxID, evil, evil)
		w.s.HandleResponse(w.now, anyTx, address(p), evil)
	}
	if !reflect.DeepEqual(before, w.s.Report()) || !deadline.Equal(w.s.Deadline()) {
		w.t.Fatal("a forged response changed something")
	}
}

// settle does what is due, and checks what always holds.
func (w *fuzzWorld) settle() {
	out := w.s.Tick(w.now)
	for _, p := range out.Probes {
		w.sentAt = append(w.sentAt, w.now)
		w.open = append(w.open, p)
		w.s.HandleSent(w.now, p.TxID, address(p))
	}
	w.open = w.open[max(0, len(w.open)-200):]
	w.https = append(w.https, out.HTTPS...)
	w.https = w.https[max(0, len(w.https)-200):]
	if again := w.s.Tick(w.now); len(again.Probes) > 0 {
		w.t.Fatal("requests were made twice")
	}
	if d := w.s.Deadline(); !d.IsZero() && !d.After(w.now) {
		w.t.Fatalf("the deadline did not move on: %v", d.Sub(w.now))
	}
	home := w.s.Report().Home
	if home != 0 && (w.regions == nil || !w.regions.Regions[home].CanBeHome()) {
		w.t.Fatalf("region %d cannot be home", home)
	}
}

// pass lets time pass, deadline by deadline.
func (w *fuzzWorld) pass(d time.Duration) {
	until := w.now.Add(d)
	for n := 0; ; n++ {
		if n > 100_000 {
			w.t.Fatal("the clock stands still")
		}
		next := w.s.Deadline()
		if next.IsZero() || next.After(until) {
			w.now = until
			return
		}
		w.now = next
		w.settle()
	}
}

// checkIdle fails when an idle node still sends after a while, or has no home
// although a region can be one.
func (w *fuzzWorld) checkIdle() {
	w.s.SetActive(false)
	w.pass(20 * time.Second)
	n := len(w.sentAt)
	w.pass(time.Hour)
	if len(w.sentAt) != n {
		w.t.Fatalf("an idle hour cost %d requests", len(w.sentAt)-n)
	}
	if home := w.s.Report().Home; home == 0 && len(w.s.candidates()) > 0 {
		w.t.Fatal("there is no home")
	}
}
