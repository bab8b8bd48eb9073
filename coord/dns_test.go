package coord

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

func TestWireDNS(t *testing.T) {
	d := &DNS{
		Records: []Record{
			{"db.mesh.internal.", netip.MustParseAddr("100.64.0.9")},
			{"db.mesh.internal", netip.MustParseAddr("fd7a:115c:a1e0::9")},
		},
		Split:     map[string][]string{"Corp.example.com.": {"10.0.0.53", "10.0.0.54:5353"}, "here.example.com": nil},
		Resolvers: []string{"https://dns.example.com/dns-query"},
	}
	got, _ := json.Marshal(d.wire("mesh.internal"))
	want := `{"Resolvers":[{"Addr":"https://dns.example.com/dns-query"}],` +
		`"Routes":{"corp.example.com":[{"Addr":"10.0.0.53"},{"Addr":"10.0.0.54:5353"}],"here.example.com":null},` +
		`"Domains":["mesh.internal"],"Proxied":true,"ExtraRecords":[` +
		`{"Name":"db.mesh.internal","Type":"A","Value":"100.64.0.9"},{"Name":"db.mesh.internal","Type":"AAAA","Value":"fd7a:115c:a1e0::9"}]}`
	if err := d.check(); err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestBadDNS(t *testing.T) {
	for what, d := range map[string]DNS{
		"a record without address": {Records: []Record{{Name: "db"}}},
		"a record without name":    {Records: []Record{{Addr: netip.MustParseAddr("100.64.0.9")}}},
		"a domain with a space":    {Split: map[string][]string{"a b": nil}},
		"a domain too long":        {Split: map[string][]string{strings.Repeat("x.", 200): nil}},
		"a server by name":         {Split: map[string][]string{"example.com": {"dns.example.com"}}},
		"a resolver over http":     {Resolvers: []string{"http://dns.example.com"}},
	} {
		if err := d.check(); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestSetDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		base := DNS{Resolvers: []string{"192.0.2.1"}}
		ts := serve(t, Config{Store: store, DNS: base})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		s := m.stream("")
		s.frame("the first frame")
		if err := ts.SetDNS(t.Context(), &DNS{Resolvers: []string{"192.0.2.2"}}); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("other resolvers"); resp.DNSConfig == nil || resp.DNSConfig.Resolvers[0].Addr != "192.0.2.2" || resp.Node != nil {
			t.Errorf("other resolvers: %+v", resp)
		}
		ts.stop()
		ts = serve(t, Config{Store: store, DNS: base})
		if d, err := ts.DNS(t.Context()); err != nil || d.Resolvers[0] != "192.0.2.2" {
			t.Errorf("after a restart: %+v, %v", d, err)
		}
		if err := ts.SetDNS(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if dns := ts.current.Load().dns; dns.Resolvers[0].Addr != "192.0.2.1" {
			t.Errorf("after it was taken away: %+v", dns)
		}
	})
}
