package coord

import (
	"encoding/json"
	"net/netip"
	"testing"
)

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
