package coord

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Rule lets nodes open connections to others.
type Rule struct {
	// From and To are addresses ("100.64.0.1"), prefixes ("100.64.0.0/24"),
	// ranges ("100.64.0.1-100.64.0.9") or "*" for all.
	From []string
	To   []string
	// FirstPort to LastPort are allowed; both zero means all ports.
	FirstPort, LastPort uint16
	// Protocols are IP protocol numbers; none means TCP, UDP and ICMP.
	Protocols []int
}

// wireRules returns the filter of all nodes. Each applies what concerns its own
// addresses.
func wireRules(rules []Rule) ([]tailcfg.FilterRule, error) {
	if rules == nil {
		rules = []Rule{{From: []string{"*"}, To: []string{"*"}}}
	}
	wire := make([]tailcfg.FilterRule, 0, len(rules)) // null would mean another thing than none
	for _, r := range rules {
		w, err := r.wire()
		if err != nil {
			return nil, err
		}
		wire = append(wire, w)
	}
	return wire, nil
}

func (r Rule) wire() (tailcfg.FilterRule, error) {
	ports := tailcfg.PortRange{First: r.FirstPort, Last: r.LastPort}
	if ports == (tailcfg.PortRange{}) {
		ports.Last = 65535
	}
	if ports.First > ports.Last {
		return tailcfg.FilterRule{}, fmt.Errorf("coord: a rule's ports run from %d to %d", ports.First, ports.Last)
	}
	w := tailcfg.FilterRule{SrcIPs: slices.Clone(r.From), IPProto: slices.Clone(r.Protocols)}
	for _, src := range r.From {
		if err := checkAddrs(src); err != nil {
			return tailcfg.FilterRule{}, err
		}
	}
	for _, dst := range r.To {
		if err := checkAddrs(dst); err != nil {
			return tailcfg.FilterRule{}, err
		}
		w.DstPorts = append(w.DstPorts, tailcfg.NetPortRange{IP: dst, Ports: ports})
	}
	return w, nil
}

// checkAddrs refuses what nodes would skip: a rule that silently is not there.
func checkAddrs(text string) error {
	if text == "*" {
		return nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return nil
	}
	if p, err := netip.ParsePrefix(text); err == nil && p == p.Masked() {
		return nil
	}
	if from, to, ok := strings.Cut(text, "-"); ok {
		a, errA := netip.ParseAddr(from)
		b, errB := netip.ParseAddr(to)
		if errA == nil && errB == nil && a.BitLen() == b.BitLen() && a.Compare(b) <= 0 {
			return nil
		}
	}
	return fmt.Errorf("coord: %q in a rule is no address, prefix, range or \"*\"", text)
}

func wireDNS(domain string, records []Record) (*tailcfg.DNSConfig, error) {
	dns := &tailcfg.DNSConfig{Proxied: true, Domains: []string{domain}}
	for _, r := range records {
		if r.Name == "" || !r.Addr.IsValid() {
			return nil, fmt.Errorf("coord: the extra record %q has no name or no address", r.Name)
		}
		dns.ExtraRecords = append(dns.ExtraRecords, wireRecord(r))
	}
	return dns, nil
}

func wireRecord(r Record) tailcfg.DNSRecord {
	addr, kind := r.Addr.Unmap(), "A"
	if addr.Is6() {
		kind = "AAAA"
	}
	return tailcfg.DNSRecord{Name: strings.TrimSuffix(r.Name, "."), Type: kind, Value: addr.String()}
}

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
