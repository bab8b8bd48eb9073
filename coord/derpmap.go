package coord

import (
	"encoding/json"
	"fmt"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// cloneDERPMap returns a copy that the caller of ours does not share.
func cloneDERPMap(m *derpmap.Map) (*derpmap.Map, error) {
	if m == nil {
		m = new(derpmap.Map)
	}
	for id, r := range m.Regions {
		if id < 1 || id > 65535 || r != nil && r.RegionID != id {
			return nil, fmt.Errorf("coord: region %d of the DERP map has no ID in 1…65535, or says that it is another", id)
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	clone := new(derpmap.Map)
	if err := json.Unmarshal(data, clone); err != nil {
		return nil, err
	}
	if clone.Regions == nil { // null would mean unchanged
		clone.Regions = make(map[int]*derpmap.Region)
	}
	return clone, nil
}
