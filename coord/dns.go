package coord

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// DNS is how names are resolved in the tailnet, besides those of its nodes.
type DNS struct {
	// Records are names that MagicDNS answers.
	Records []Record
	// Split names the DNS servers of domains: "corp.example.com" to
	// "10.0.0.53", an address, an address with port or an https URL. A domain
	// without servers is answered by the nodes themselves.
	Split map[string][]string
	// Resolvers are the DNS servers for all other names. None means that nodes
	// keep those that they have.
	Resolvers []string
}

// Record is a name of the tailnet that is not a node's.
type Record struct {
	Name string // fully qualified
	Addr netip.Addr
}

// maxDNS bounds each list of a DNS, because all nodes are told of them.
const maxDNS = 1000

// SetDNS puts what is resolved in force, for all nodes at once. Nil takes it
// away: then [Config].DNS is in force.
func (s *Server) SetDNS(ctx context.Context, d *DNS) error {
	if d == nil {
		return s.do(ctx, func(_ time.Time, st *state) error {
			st.decide(kindDNS, nil)
			return nil
		})
	}
	r := &dnsRecord{DNS: DNS{slices.Clone(d.Records), maps.Clone(d.Split), slices.Clone(d.Resolvers)}}
	if err := r.check(); err != nil {
		return err
	}
	return s.do(ctx, func(_ time.Time, st *state) error {
		st.put(r)
		return nil
	})
}

// DNS returns what was set last, or nil when nothing is.
func (s *Server) DNS(ctx context.Context) (*DNS, error) {
	return decide(ctx, s, func(_ time.Time, st *state) (*DNS, error) {
		if r, ok := st.entries[kindDNS].record.(*dnsRecord); ok {
			return &DNS{slices.Clone(r.Records), maps.Clone(r.Split), slices.Clone(r.Resolvers)}, nil
		}
		return nil, nil
	})
}

// dnsRecord is the record of the DNS that an administrator has set.
type dnsRecord struct{ DNS }

func (r *dnsRecord) entryKey() string { return kindDNS }
func (r *dnsRecord) enter(s *state)   { s.dns = &r.DNS }
func (r *dnsRecord) leave(s *state)   { s.dns = s.baseDNS }
func (r *dnsRecord) check() error     { return r.DNS.check() }

func (d *DNS) check() error {
	if len(d.Records) > maxDNS || len(d.Split) > maxDNS || len(d.Resolvers) > maxDNS {
		return fmt.Errorf("coord: DNS has more than %d records, domains or resolvers", maxDNS)
	}
	for _, r := range d.Records {
		if checkName(r.Name) != nil || !r.Addr.IsValid() || r.Addr.Zone() != "" {
			return fmt.Errorf("coord: the DNS record %.300q has no name or no address", r.Name)
		}
	}
	for domain, servers := range d.Split {
		if err := checkName(domain); err != nil {
			return fmt.Errorf("coord: split DNS: %w", err)
		}
		if err := checkResolvers(servers); err != nil {
			return err
		}
	}
	return checkResolvers(d.Resolvers)
}

// checkName reports what cannot be a name in DNS (RFC 1035, section 2.3.4).
func checkName(name string) error {
	name = strings.TrimSuffix(name, ".")
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f }
	if name == "" || len(name) > 253 || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%.300q is not a DNS name", name)
	}
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > maxLabel {
			return fmt.Errorf("%.300q is not a DNS name", name)
		}
	}
	return nil
}

func checkResolvers(servers []string) error {
	if len(servers) > maxDNS {
		return fmt.Errorf("coord: a domain has more than %d DNS servers", maxDNS)
	}
	for _, server := range servers {
		if _, err := netip.ParseAddr(server); err == nil {
			continue
		}
		if _, err := netip.ParseAddrPort(server); err == nil {
			continue
		}
		if u, err := url.Parse(server); err == nil && u.Scheme == "https" && u.Host != "" {
			continue
		}
		return fmt.Errorf("coord: the DNS server %.300q is no address, address with port or https URL", server)
	}
	return nil
}

// wire returns d as nodes are told.
func (d *DNS) wire(domain string) *tailcfg.DNSConfig {
	dns := &tailcfg.DNSConfig{Proxied: true, Domains: []string{domain}, Resolvers: wireResolvers(d.Resolvers)}
	for _, r := range d.Records {
		dns.ExtraRecords = append(dns.ExtraRecords, r.wire())
	}
	for domain, servers := range d.Split {
		if dns.Routes == nil {
			dns.Routes = make(map[string][]tailcfg.Resolver)
		}
		dns.Routes[strings.ToLower(strings.TrimSuffix(domain, "."))] = wireResolvers(servers)
	}
	return dns
}

func wireResolvers(servers []string) (resolvers []tailcfg.Resolver) {
	for _, server := range servers {
		resolvers = append(resolvers, tailcfg.Resolver{Addr: server})
	}
	return resolvers
}

func (r Record) wire() tailcfg.DNSRecord {
	addr, kind := r.Addr.Unmap(), "A"
	if addr.Is6() {
		kind = "AAAA"
	}
	return tailcfg.DNSRecord{Name: strings.TrimSuffix(r.Name, "."), Type: kind, Value: addr.String()}
}
