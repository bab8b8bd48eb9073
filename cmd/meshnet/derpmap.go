package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// parseDERPMap reads a DERP map in JSON, or a region of one, such as meshnet
// relay prints.
func parseDERPMap(text []byte) (*derpmap.Map, error) {
	var m derpmap.Map
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("it is no DERP map: %w", err)
	}
	if len(m.Regions) == 0 {
		var region derpmap.Region
		if err := json.Unmarshal(text, &region); err != nil || region.RegionID == 0 {
			return nil, errors.New("it is no DERP map: it has no regions")
		}
		m.Regions = map[int]*derpmap.Region{region.RegionID: &region}
	}
	for id, r := range m.Regions {
		if r == nil || r.RegionID != id || len(r.Nodes) == 0 {
			return nil, fmt.Errorf("region %d of the DERP map has no relays, or says that it is another", id)
		}
		for _, n := range r.Nodes {
			if n == nil || n.HostName == "" || n.RegionID != id {
				return nil, fmt.Errorf("region %d of the DERP map has a relay without HostName, or of another region", id)
			}
		}
	}
	return &m, nil
}
