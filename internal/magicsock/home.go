package magicsock

import (
	"math"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// homePatience is how long the relays of the home region may be out of reach
// before another region becomes home: long enough for two or three attempts.
const homePatience = 10 * time.Second

// home is the choice of the home region. Every change costs all peers an
// update, so it stays where it is while it can.
type home struct {
	region int       // 0 when no region can be home
	down   time.Time // since when the region is chosen but not connected
}

// next returns the choice for now, given whether h.region is connected, and
// when to look again if nothing happens before: zero for never.
func (h home) next(now time.Time, m *derpmap.Map, connected bool) (home, time.Time) {
	ids := homeRegions(m)
	at := slices.Index(ids, h.region)
	switch {
	case len(ids) == 0:
		return home{}, time.Time{}
	case at < 0:
		h = home{ids[0], now}
	case connected:
		return home{region: h.region}, time.Time{}
	case h.down.IsZero():
		h.down = now
	case len(ids) > 1 && now.Sub(h.down) >= homePatience:
		h = home{ids[(at+1)%len(ids)], now}
	}
	if len(ids) == 1 {
		return h, time.Time{}
	}
	return h, h.down.Add(homePatience)
}

// homeRegions returns the regions that may be home, in order.
func homeRegions(m *derpmap.Map) []int {
	return slices.DeleteFunc(regions(m), func(id int) bool { return !m.Regions[id].CanBeHome() })
}

// regions returns the regions that have a relay, in order, and whose IDs fit
// where the protocols carry a region as a port.
func regions(m *derpmap.Map) []int {
	return slices.DeleteFunc(m.IDs(), func(id int) bool { return id < 1 || id > math.MaxUint16 })
}
