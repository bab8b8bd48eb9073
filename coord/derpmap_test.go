package coord

import (
	"testing"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func TestCloneDERPMap(t *testing.T) {
	if m, err := cloneDERPMap(nil); err != nil || m.Regions == nil {
		t.Errorf("no map must be sent as no regions: got %+v, %v", m, err)
	}
	region := &derpmap.Region{RegionID: 900, Nodes: []*derpmap.Node{{Name: "a"}}}
	m, err := cloneDERPMap(&derpmap.Map{Regions: map[int]*derpmap.Region{900: region, 901: nil}})
	if err != nil {
		t.Fatal(err)
	}
	region.Nodes[0].Name = "changed by the caller"
	if m.Regions[900].Nodes[0].Name != "a" {
		t.Error("the map is shared with the caller")
	}
	for id, r := range map[int]*derpmap.Region{0: {}, 65536: {RegionID: 65536}, 1: {RegionID: 2}} {
		if _, err := cloneDERPMap(&derpmap.Map{Regions: map[int]*derpmap.Region{id: r}}); err == nil {
			t.Errorf("accepted region %d with ID %d", id, r.RegionID)
		}
	}
}
