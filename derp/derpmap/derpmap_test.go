package derpmap

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestJSON has each field as the wire has it, and as a map that says nothing
// about it is written.
func TestJSON(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"nothing", `{"Regions":null}`},
		{"no regions", `{"Regions":{}}`},
		{"a region that is withdrawn", `{"Regions":{"1":null}}`},
		{"scores", `{"Regions":null,"HomeParams":{"RegionScore":{"1":0.5,"2":3}}}`},
		{"scores taken back", `{"Regions":null,"HomeParams":{"RegionScore":{}}}`},
		{"parameters without scores", `{"Regions":null,"HomeParams":{}}`},
		{"a region", `{"Regions":{"7":{"RegionID":7,"RegionCode":"fra","RegionName":"Frankfurt","Avoid":true,"NoMeasureNoHome":true,"Nodes":[]}},"omitDefaultRegions":true}`},
		{"a node", `{"Regions":{"7":{"RegionID":7,"RegionCode":"","RegionName":"","Nodes":[` +
			`{"Name":"7a","RegionID":7,"HostName":"a.test","CertName":"b.test","IPv4":"192.0.2.1","IPv6":"none",` +
			`"STUNPort":-1,"STUNOnly":true,"DERPPort":8443,"InsecureForTests":true,"STUNTestIP":"127.0.0.1","CanPort80":true}]}}}`},
	} {
		var m Map
		if err := json.Unmarshal([]byte(tt.text), &m); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got, err := json.Marshal(m); err != nil || string(got) != tt.text {
			t.Errorf("%s: written as %s, %v\nwant %s", tt.name, got, err, tt.text)
		}
	}
}

func TestWhoCanBeHome(t *testing.T) {
	relay, stun := &Node{HostName: "a.test"}, &Node{HostName: "b.test", STUNOnly: true}
	for _, tt := range []struct {
		name   string
		region *Region
		relay  bool
		home   bool
	}{
		{"none", nil, false, false},
		{"no nodes", &Region{}, false, false},
		{"a node that is nil", &Region{Nodes: []*Node{nil}}, false, false},
		{"a STUN server", &Region{Nodes: []*Node{stun}}, false, false},
		{"a relay", &Region{Nodes: []*Node{nil, stun, relay}}, true, true},
		{"a relay to avoid", &Region{Nodes: []*Node{relay}, Avoid: true}, true, true},
		{"a relay for others", &Region{Nodes: []*Node{relay}, NoMeasureNoHome: true}, true, false},
	} {
		if got := tt.region.CanBeHome(); got != tt.home {
			t.Errorf("%s: it can be home: %v", tt.name, got)
		}
		ids := (&Map{Regions: map[int]*Region{5: tt.region}}).IDs()
		if slices.Contains(ids, 5) != tt.relay {
			t.Errorf("%s: regions with relays are %v", tt.name, ids)
		}
	}
	if ids := (*Map)(nil).IDs(); len(ids) != 0 {
		t.Errorf("no map has regions %v", ids)
	}
}
