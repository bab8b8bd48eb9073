package netmap

import (
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// applyDERPMap returns the relays after a change, in which regions and home
// parameters that are absent mean that they are as before.
func applyDERPMap(before, change *derpmap.Map) *derpmap.Map {
	switch {
	case change == nil:
		return before
	case before == nil:
		before = &derpmap.Map{Regions: map[int]*derpmap.Region{}}
	case change.Regions == nil && change.HomeParams == nil:
		return before
	}
	next := *before
	if change.Regions != nil {
		next.Regions, next.OmitDefaultRegions = tidiedRegions(change.Regions), change.OmitDefaultRegions
	}
	if p := change.HomeParams; p != nil && (p.RegionScore != nil || before.HomeParams == nil) {
		next.HomeParams = p
	}
	return &next
}

// tidiedRegions returns regions without those that are none.
func tidiedRegions(all map[int]*derpmap.Region) map[int]*derpmap.Region {
	next := make(map[int]*derpmap.Region, len(all))
	for id, region := range all {
		if region != nil && isRegion(id) {
			next[id] = tidied(id, *region)
		}
	}
	return next
}

// tidied returns a region without nodes that are nil.
func tidied(id int, r derpmap.Region) *derpmap.Region {
	r.RegionID = id
	r.Nodes = slices.DeleteFunc(slices.Clone(r.Nodes), func(n *derpmap.Node) bool { return n == nil })
	return &r
}
