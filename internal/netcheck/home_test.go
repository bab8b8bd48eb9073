package netcheck

import (
	"maps"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func TestHomeByLatency(t *testing.T) {
	const now, began = 20 * time.Second, 19 * time.Second
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	never := time.Duration(-1)
	of := func(id int, recent, current time.Duration) candidate { return candidate{id, recent, current} }
	for _, tt := range []struct {
		name  string
		old   int
		heard time.Duration // since the start
		all   []candidate
		want  int
	}{
		{"nothing was measured", 1, never, []candidate{of(1, 0, 0), of(2, 5*ms, 0)}, 1},
		{"the first is the nearest", 0, never, []candidate{of(1, 50*ms, 50*ms), of(2, 30*ms, 30*ms)}, 2},
		{"equally near: the lower", 0, never, []candidate{of(1, 30*ms, 30*ms), of(2, 30*ms, 30*ms)}, 1},
		{"one that did not answer this time is none", 0, never, []candidate{of(1, 50*ms, 50*ms), of(2, 30*ms, 0)}, 1},
		{"the best of late counts", 0, never, []candidate{of(1, 50*ms, 50*ms), of(2, 30*ms, 200*ms)}, 2},
		{"a gain of less than 10 ms", 1, never, []candidate{of(1, 13*ms, 13*ms), of(2, 4*ms, 4*ms)}, 1},
		{"a gain of 10 ms, and more than a third", 1, never, []candidate{of(1, 14*ms, 14*ms), of(2, 4*ms, 4*ms)}, 2},
		{"a gain of less than a third", 1, never, []candidate{of(1, 100*ms, 100*ms), of(2, 67*ms, 67*ms)}, 1},
		{"a gain of a third", 1, never, []candidate{of(1, 99*ms, 99*ms), of(2, 66*ms, 66*ms)}, 2},
		{"the old one's latency is that of now", 1, never, []candidate{of(1, 35*ms, 200*ms), of(2, 30*ms, 30*ms)}, 2},
		{"the old one did not answer", 1, never, []candidate{of(1, 5*ms, 0), of(2, 300*ms, 300*ms)}, 2},
		{"but was heard since the round began", 1, 19500 * ms, []candidate{of(1, 5*ms, 0), of(2, 300*ms, 300*ms)}, 1},
		{"but was heard less than 8 seconds ago", 1, 12001 * ms, []candidate{of(1, 5*ms, 0), of(2, 300*ms, 300*ms)}, 1},
		{"8 seconds are too long", 1, 12 * time.Second, []candidate{of(1, 5*ms, 0), of(2, 300*ms, 300*ms)}, 2},
		{"that it was heard is no reason to stay far away", 1, 19500 * ms, []candidate{of(1, 90*ms, 90*ms), of(2, 30*ms, 30*ms)}, 2},
		{"the old one is withdrawn", 9, 19500 * ms, []candidate{of(1, 90*ms, 90*ms)}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := home{region: tt.old}
			if tt.heard >= 0 {
				h.hear(start.Add(tt.heard), tt.old)
			}
			h.choose(start.Add(now), start.Add(began), tt.all)
			if h.region != tt.want {
				t.Errorf("home is %d, want %d", h.region, tt.want)
			}
		})
	}
}

// TestHomeWithoutLatencies has no STUN server, and no relay that answers.
func TestHomeWithoutLatencies(t *testing.T) {
	w := newWorld(t)
	m := w.regionMap(map[int]time.Duration{1: 0, 2: 0, 3: 0, 4: 0, 5: 0})
	m.Regions[1].Avoid = true
	m.Regions[2].NoMeasureNoHome = true
	m.Regions[6] = nil
	m.Regions[-1], m.Regions[0], m.Regions[1<<16] = m.Regions[3], m.Regions[3], m.Regions[3]
	for _, r := range m.Regions {
		if r != nil {
			r.Nodes[0].STUNPort = -1
		}
	}
	w.down = map[int]bool{3: true, 4: true, 5: true}
	w.begin(dual, m)
	w.run(time.Second)
	w.wantHome("the lowest that can be home", 3)
	w.run(8900 * ms)
	w.wantHome("not yet down for long", 3)
	w.run(200 * ms)
	w.wantHome("for too long: the next", 4)
	w.run(10 * time.Second)
	w.wantHome("and the next", 5)
	w.run(10 * time.Second)
	w.wantHome("the next of the last is the first", 3)
	w.run(10 * time.Second)
	w.wantHome("and round it goes", 4)
	w.s.HandleRelay(w.now, 4, true)
	w.run(time.Hour)
	w.wantHome("one that works stays", 4)
	w.s.HandleRelay(w.now, 4, false)
	w.run(9 * time.Second)
	w.s.HandleRelay(w.now, 4, true)
	w.run(9 * time.Second)
	w.wantHome("a relay that restarts keeps its nodes", 4)

	delete(m.Regions, 4)
	w.s.SetMap(w.now, m)
	w.tick()
	w.check("home is withdrawn", w.s.Report().Home == 3 || w.s.Report().Home == 5)
	w.s.SetMap(w.now, w.regionMap(map[int]time.Duration{8: 0}))
	w.down[8] = true
	w.run(time.Minute)
	w.wantHome("there is no other", 8)
	w.s.SetMap(w.now, &derpmap.Map{})
	w.run(time.Minute)
	w.wantHome("all are withdrawn", 0)
	w.check("and nothing is awaited", w.s.Deadline().IsZero())
}

// TestARelayThatIsDownIsNoHome has a region whose STUN server answers, and
// whose relay does not.
func TestARelayThatIsDownIsNoHome(t *testing.T) {
	w := newWorld(t)
	w.down[1] = true
	w.s.SetActive(true)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 80 * ms, 3: 60 * ms}))
	w.run(time.Second)
	w.wantHome("the nearest, at first", 1)
	w.run(10 * time.Second)
	w.wantHome("the next nearest that works", 3)
	w.run(9 * time.Minute)
	w.wantHome("and it stays, in spite of STUN", 3)
	w.down[1] = false
	w.s.HandleRelay(w.now, 1, true)
	w.run(time.Minute)
	w.wantHome("the nearest, when it is up again", 1)
}

func TestScores(t *testing.T) {
	nan := 0.0
	nan /= nan
	type scores = map[int]float64
	for _, tt := range []struct {
		name   string
		scores scores
		want   int
	}{
		{"none", nil, 1},
		{"an empty set", scores{}, 1},
		{"against the nearest", scores{1: 1.5}, 2},
		{"not enough against it", scores{1: 1.3}, 1},
		{"for a region", scores{3: 0.5}, 3},
		{"for and against", scores{1: 3, 2: 0.5}, 2},
		{"one for a region that is none", scores{9: 0.001, -1: 0.001}, 1},
		{"without sense: not above zero", scores{1: 2, 2: 0, 3: -1}, 2},
		{"without sense: no number", scores{1: nan}, 1},
		{"without sense: too large", scores{1: 1e300, 2: 1 / 1e-300}, 1},
		{"next to nothing", scores{3: 1e-300}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.regionMap(map[int]time.Duration{1: 30 * ms, 2: 40 * ms, 3: 50 * ms})
			m.HomeParams = &derpmap.HomeParams{RegionScore: tt.scores}
			w.begin(only4, m)
			w.run(time.Second)
			w.wantHome("by latencies and scores", tt.want)
			w.check("latencies are told as they are", w.s.Report().Latency[3].IPv4 == 50*ms)
		})
	}
}

// TestScoresChange has the coordinator draw a node from region to region.
func TestScoresChange(t *testing.T) {
	w := newWorld(t)
	m := w.regionMap(map[int]time.Duration{1: 30 * ms, 2: 40 * ms})
	w.begin(only4, m)
	w.run(10 * time.Second)
	w.wantHome("the nearer", 1)
	for _, step := range []struct {
		what   string
		scores map[int]float64
		want   int
	}{
		{"a gain of less than a third is none", map[int]float64{1: 1.8}, 1},
		{"nor is one of less than 10 ms", map[int]float64{1: 0.2, 2: 0.05}, 1},
		{"a gain", map[int]float64{1: 3}, 2},
		{"back with no scores, but for a small gain", nil, 2},
		{"a gain again", map[int]float64{2: 2}, 1},
	} {
		next := *m
		next.HomeParams = &derpmap.HomeParams{RegionScore: step.scores}
		w.s.SetMap(w.now, &next)
		w.run(10 * time.Second)
		w.wantHome(step.what, step.want)
	}
}

// TestARegionToAvoid has regions that are home only if there is no other, and
// one that is never.
func TestARegionToAvoid(t *testing.T) {
	w := newWorld(t)
	m := w.regionMap(map[int]time.Duration{1: 10 * ms, 2: 20 * ms, 3: 30 * ms, 4: 5 * ms})
	m.Regions[4].NoMeasureNoHome = true
	w.begin(only4, m)
	w.run(10 * time.Second)
	w.wantHome("the nearest", 1)

	avoid := func(ids ...int) {
		next := &derpmap.Map{Regions: maps.Clone(m.Regions)}
		for _, id := range ids {
			r := *m.Regions[id]
			r.Avoid = true
			next.Regions[id] = &r
		}
		w.s.SetMap(w.now, next)
		w.run(10 * time.Second)
	}
	avoid(1)
	w.wantHome("its nodes leave it", 2)
	avoid(1, 2)
	w.wantHome("and the next", 3)
	avoid(1, 2, 3)
	w.wantHome("any is better than none", 1)
	w.check("what is not to be measured is not", w.regionsProbed()[4] == 0)
}

func TestHomeMovesWithLatency(t *testing.T) {
	w := newWorld(t)
	w.s.SetActive(true)
	w.begin(only4, w.regionMap(map[int]time.Duration{1: 20 * ms, 2: 60 * ms}))
	w.run(time.Minute)
	w.wantHome("the nearer", 1)
	w.servers["a"] = 200 * ms
	w.run(time.Minute)
	w.wantHome("it was near a minute ago, and may be again", 1)
	w.run(6 * time.Minute)
	w.wantHome("after five minutes it is as slow as it is", 2)
	w.servers["a"] = 52 * ms
	w.run(15 * time.Minute)
	w.wantHome("for a small gain it does not move back", 2)
	w.servers["a"] = 0
	w.servers["b"] = 300 * ms
	w.run(time.Hour)
	w.wantHome("the only one that answers", 2)
}
