package magicsock

import (
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func testMap(regions ...int) *derpmap.Map {
	m := &derpmap.Map{Regions: make(map[int]*derpmap.Region)}
	for _, id := range regions {
		m.Regions[id] = &derpmap.Region{RegionID: id, Nodes: []*derpmap.Node{{Name: "n", RegionID: id, HostName: "relay.test"}}}
	}
	return m
}

func TestHome(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	avoid := testMap(1, 2, 3)
	avoid.Regions[1].Avoid = true
	avoid.Regions[2].NoMeasureNoHome = true
	odd := testMap(-1, 0, 1<<16, 7)
	odd.Regions[3] = nil
	odd.Regions[4] = &derpmap.Region{Nodes: []*derpmap.Node{nil, {STUNOnly: true}}}

	for _, tt := range []struct {
		name      string
		old       home
		now       time.Time
		m         *derpmap.Map
		connected bool
		want      home
		again     time.Time
	}{
		{"no map yet", home{}, at(0), nil, false, home{}, time.Time{}},
		{"the first home is the lowest region", home{}, at(0), testMap(2, 1), false, home{1, at(0)}, at(10)},
		{"one that is to be avoided is none", home{}, at(0), avoid, false, home{3, at(0)}, time.Time{}},
		{"nor is one that makes no sense", home{}, at(0), odd, false, home{7, at(0)}, time.Time{}},
		{"a home that works stays", home{region: 2}, at(0), testMap(1, 2), true, home{region: 2}, time.Time{}},
		{"once connected it is not down", home{2, at(0)}, at(5), testMap(1, 2), true, home{region: 2}, time.Time{}},
		{"a connection is lost", home{region: 2}, at(3), testMap(1, 2), false, home{2, at(3)}, at(13)},
		{"not yet for long", home{2, at(3)}, at(12), testMap(1, 2), false, home{2, at(3)}, at(13)},
		{"for too long: the next", home{1, at(3)}, at(13), testMap(1, 2), false, home{2, at(13)}, at(23)},
		{"the next of the last is the first", home{2, at(3)}, at(13), testMap(1, 2), false, home{1, at(13)}, at(23)},
		{"there is no other", home{2, at(3)}, at(99), testMap(2), false, home{2, at(3)}, time.Time{}},
		{"home is withdrawn", home{region: 2}, at(0), testMap(1, 3), true, home{1, at(0)}, at(10)},
		{"all are withdrawn", home{region: 2}, at(0), testMap(), true, home{}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, again := tt.old.next(tt.now, tt.m, tt.connected)
			if got != tt.want || !again.Equal(tt.again) {
				t.Errorf("got %v, again at %v\nwant %v, again at %v", got, again, tt.want, tt.again)
			}
		})
	}
}
