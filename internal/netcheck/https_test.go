package netcheck

import (
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// TestWithoutUDP has relays that can be reached, and no STUN server that can.
func TestWithoutUDP(t *testing.T) {
	for name, tt := range map[string]struct {
		set   func(*world, *derpmap.Map) Network
		after time.Duration // HTTPS begins
	}{
		"blocked":    {func(w *world, _ *derpmap.Map) Network { clear(w.servers); return dual }, httpsAfter},
		"no sockets": {func(*world, *derpmap.Map) Network { return Network{} }, 0},
		"no way out": {func(w *world, _ *derpmap.Map) Network { w.noRoute = func(Probe) bool { return true }; return dual }, 2 * retryAfter},
		"STUN turned off": {func(_ *world, m *derpmap.Map) Network {
			for _, r := range m.Regions {
				r.Nodes[0].STUNPort = -1
			}
			return only4
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.regionMap(map[int]time.Duration{1: 1, 2: 1, 3: 1, 4: 1})
			m.Regions[4].NoMeasureNoHome = true
			w.https = map[int]time.Duration{1: 50 * ms, 2: 30 * ms}
			n := tt.set(w, m)
			w.begin(n, m)
			w.run(tt.after + 4*30*ms)
			w.wantHome("there may be a nearer one", 0)
			w.run(4 * 30 * ms)
			w.wantHome("soon it is the nearest", 2)
			w.run(10 * time.Second)
			w.wantHome("to stay", 2)
			slices.Sort(w.asked)
			w.check("each region that can be home was measured once", slices.Equal(w.asked, []int{1, 2, 3}))
			r := w.s.Report()
			w.check("UDP does not work", r.UDP != Yes && len(r.Endpoints) == 0)
			w.check("how far away regions are is known", r.Latency[1] == Latency{HTTPS: 50 * ms} && r.Latency[2] == Latency{HTTPS: 30 * ms})
			w.check("the coordinator is told latencies of STUN alone", len(r.NetInfo().DERPLatency) == 0)

			w.forget()
			w.run(time.Hour)
			w.check("an idle hour costs nothing", len(w.asked) == 0 && len(w.probes) == 0 && w.news == 0)
		})
	}
}

// TestHTTPSWithAHome has UDP fail on a node that has a home: there is no hurry.
func TestHTTPSWithAHome(t *testing.T) {
	w := newWorld(t)
	w.https = map[int]time.Duration{1: 90 * ms, 2: 30 * ms}
	w.s.SetActive(true)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms}))
	w.run(time.Second)
	w.wantHome("by STUN", 1)
	clear(w.servers)
	w.s.SetNetwork(w.now, only4)
	w.run(stunPhase - ms)
	w.check("STUN may yet answer", len(w.asked) == 0)
	w.run(time.Second)
	w.check("all are measured over HTTPS", len(w.asked) == 2)
	w.wantHome("another is nearer there", 2)

	w.https = map[int]time.Duration{1: 30 * ms, 2: 300 * ms}
	w.forget()
	w.run(4 * time.Minute)
	w.check("rounds that are not full do without", len(w.probes) > 0 && len(w.asked) == 0)
	w.run(7 * time.Minute)
	w.check("full ones do not", len(w.asked) > 0)
	w.wantHome("the nearest of late", 1)
}

// TestSTUNAnswersAfterAll has answers come when HTTPS has been begun.
func TestSTUNAnswersAfterAll(t *testing.T) {
	w := newWorld(t)
	w.https = map[int]time.Duration{1: 10 * time.Second, 2: 10 * time.Second, 3: 10 * time.Second}
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 600 * ms, 2: 500 * ms, 3: 700 * ms}))
	w.run(httpsAfter)
	w.check("HTTPS is begun", len(w.asked) == 3)
	w.run(400 * ms)
	w.wantHome("the nearest", 2)
	w.check("which ends the round", w.s.Report().At.Equal(w.start.Add(700*ms)))
	w.check("UDP works", w.s.Report().UDP == Yes)
}

func TestNobodyAnswers(t *testing.T) {
	t.Run("at all", func(t *testing.T) {
		w := newWorld(t)
		w.https = map[int]time.Duration{1: time.Hour, 2: time.Hour}
		w.begin(only4, w.regionMap(map[int]time.Duration{1: 0, 2: 0}))
		w.run(firstHTTPS - ms)
		w.wantHome("answers may be under way", 0)
		w.run(ms)
		w.wantHome("any is better than none", 1)
		w.run(10 * time.Second)
		w.check("the round ends with its time", w.s.Report().At.Equal(w.start.Add(httpsAfter+httpsPhase)))
	})
	t.Run("but with errors", func(t *testing.T) {
		w := newWorld(t)
		w.begin(only4, w.regionMap(map[int]time.Duration{1: 0, 2: 0}))
		w.run(firstAnswer - ms)
		w.check("HTTPS has failed", len(w.asked) == 2)
		w.wantHome("STUN may yet answer", 0)
		w.run(ms)
		w.wantHome("any is better than none", 1)
	})
}

// TestManyRegionsOverHTTPS asks some regions when others have answered.
func TestManyRegionsOverHTTPS(t *testing.T) {
	w := newWorld(t)
	latencies := make(map[int]time.Duration)
	for id := 1; id <= 60; id++ {
		latencies[id] = 0
		w.https[id] = time.Duration(100-id) * ms
	}
	w.begin(Network{}, w.regionMap(latencies))
	w.check("some at once", len(w.asked) == maxHTTPS)
	w.run(4 * 68 * ms)
	w.check("another when one has answered", len(w.asked) == maxHTTPS+1)
	w.wantHome("the nearest of all may be asked last", 0)
	w.run(5 * time.Second)
	w.check("all in the end", len(w.asked) == 60)
	w.wantHome("the nearest", 60)
}

// TestAnswersToAnotherRound has the network change while regions are measured.
func TestAnswersToAnotherRound(t *testing.T) {
	w := newWorld(t)
	w.https = map[int]time.Duration{1: 50 * ms, 2: 100 * ms}
	w.begin(Network{}, w.regionMap(map[int]time.Duration{1: 0, 2: 0}))
	w.run(100 * ms)
	w.https = map[int]time.Duration{1: 250 * ms, 2: 20 * ms}
	w.s.SetNetwork(w.now, Network{})
	w.run(50 * ms)
	w.check("a round begins a second after the other", len(w.asked) == 2)
	w.run(10 * time.Second)
	w.wantHome("as measured in this network", 2)
	w.check("not in another", w.s.Report().Latency[1].HTTPS == 250*ms)

	w = newWorld(t)
	w.begin(Network{}, w.regionMap(map[int]time.Duration{1: 0, 2: 0}))
	w.run(10 * time.Second)
	w.s.SetNetwork(w.now, Network{})
	w.s.Tick(w.now)
	for _, p := range []HTTPSProbe{{1, w.start}, {1, time.Time{}}, {3, w.now}} {
		w.s.HandleProbe(p, ms, true)
	}
	for _, d := range []time.Duration{0, -ms, time.Minute} {
		w.s.HandleProbe(HTTPSProbe{2, w.now}, d, true)
	}
	w.run(10 * time.Second)
	w.check("nonsense is not taken", len(w.s.Report().Latency) == 0)
}
