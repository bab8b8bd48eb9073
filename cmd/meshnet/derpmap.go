package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// loadDERPMaps reads the relays in files. Those of a region may be in several.
func loadDERPMaps(files []string) (*derpmap.Map, error) {
	m := &derpmap.Map{OmitDefaultRegions: true, Regions: make(map[int]*derpmap.Region)}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		part, err := parseDERPMap(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, id := range part.IDs() {
			if err := addRegion(m, part.Regions[id]); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return m, nil
}

// addRegion adds the relays of a region to the map.
func addRegion(m *derpmap.Map, r *derpmap.Region) error {
	old := m.Regions[r.RegionID]
	if old == nil {
		m.Regions[r.RegionID] = r
		return nil
	}
	for _, n := range r.Nodes {
		if slices.ContainsFunc(old.Nodes, func(o *derpmap.Node) bool { return o.Name == n.Name }) {
			return fmt.Errorf("two relays of region %d are named %q in the DERP map", r.RegionID, n.Name)
		}
		old.Nodes = append(old.Nodes, n)
	}
	return nil
}

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
