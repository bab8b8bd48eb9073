package netmap

import (
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// applyDERPMap returns the relays after a change, in which absent regions mean
// that they are as before.
func applyDERPMap(before, change *derpmap.Map) *derpmap.Map {
	if change == nil || change.Regions == nil && before != nil {
		return before
	}
	next := &derpmap.Map{
		Regions:            make(map[int]*derpmap.Region, len(change.Regions)),
		OmitDefaultRegions: change.OmitDefaultRegions,
	}
	for id, region := range change.Regions {
		if region != nil && isRegion(id) {
			next.Regions[id] = tidied(id, *region)
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
