package coord

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func TestWireRules(t *testing.T) {
	for _, c := range []struct {
		what  string
		rules []Rule
		want  string // JSON, or "" for an error
	}{
		{"no rules allow everything", nil,
			`[{"SrcIPs":["*"],"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}]}]`},
		{"empty rules allow nothing, which null would not say", []Rule{}, `[]`},
		{"one port", []Rule{{From: []string{"100.64.0.1-100.64.0.9"}, To: []string{"100.64.0.0/16", "fd7a:115c:a1e0::1"}, FirstPort: 22, LastPort: 22, Protocols: []int{6}}},
			`[{"SrcIPs":["100.64.0.1-100.64.0.9"],"DstPorts":[{"IP":"100.64.0.0/16","Ports":{"First":22,"Last":22}},{"IP":"fd7a:115c:a1e0::1","Ports":{"First":22,"Last":22}}],"IPProto":[6]}]`},
		{"host bits", []Rule{{From: []string{"100.64.0.1/16"}}}, ""},
		{"a name", []Rule{{To: []string{"web"}}}, ""},
		{"a range backwards", []Rule{{From: []string{"100.64.0.9-100.64.0.1"}}}, ""},
		{"a range over families", []Rule{{From: []string{"100.64.0.9-fd7a::1"}}}, ""},
		{"ports backwards", []Rule{{FirstPort: 2, LastPort: 1}}, ""},
	} {
		rules, err := wireRules(c.rules)
		if err != nil {
			if c.want != "" {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if got, _ := json.Marshal(rules); string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

func TestWireDNS(t *testing.T) {
	dns, err := wireDNS("mesh.internal", []Record{
		{"db.mesh.internal.", netip.MustParseAddr("100.64.0.9")},
		{"db.mesh.internal", netip.MustParseAddr("fd7a:115c:a1e0::9")},
	})
	got, _ := json.Marshal(dns)
	want := `{"Domains":["mesh.internal"],"Proxied":true,"ExtraRecords":[` +
		`{"Name":"db.mesh.internal","Type":"A","Value":"100.64.0.9"},{"Name":"db.mesh.internal","Type":"AAAA","Value":"fd7a:115c:a1e0::9"}]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if _, err := wireDNS("mesh.internal", []Record{{Name: "db"}}); err == nil {
		t.Error("a record without address was accepted")
	}
}

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
