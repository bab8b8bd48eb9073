package coord

import (
	"fmt"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

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
