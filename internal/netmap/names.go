package netmap

import (
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/dns"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// nameTable returns the names of the mesh. Of several nodes with one name, we
// come first, then the peer with the lowest ID.
func nameTable(self *tailcfg.Node, peers []*tailcfg.Node, config *tailcfg.DNSConfig) *dns.Table {
	hosts := make([]dns.Name, 0, 1+len(peers))
	hosts = append(hosts, host(self))
	for _, n := range peers {
		hosts = append(hosts, host(n))
	}
	return dns.New(dns.Config{Suffix: dns.SuffixOf(self.Name), Hosts: hosts, Extra: extraNames(config)})
}

func host(n *tailcfg.Node) dns.Name {
	addrs := make([]netip.Addr, len(n.Addresses))
	for i, p := range n.Addresses {
		addrs[i] = p.Addr()
	}
	return dns.Name{Name: n.Name, Addrs: addrs}
}

// extraNames returns the extra records with addresses. Whether one is A or
// AAAA, the address says.
func extraNames(config *tailcfg.DNSConfig) (names []dns.Name) {
	if config == nil {
		return nil
	}
	for _, r := range config.ExtraRecords {
		addr, err := netip.ParseAddr(r.Value)
		if err == nil && addr.Zone() == "" && (r.Type == "" || r.Type == "A" || r.Type == "AAAA") {
			names = append(names, dns.Name{Name: r.Name, Addrs: []netip.Addr{addr}})
		}
	}
	return names
}

// nameServers returns the DNS servers of other names.
func nameServers(config *tailcfg.DNSConfig) dns.Servers {
	if config == nil {
		return dns.Servers{}
	}
	routes := make(map[string][]string, len(config.Routes))
	for suffix, resolvers := range config.Routes {
		routes[suffix] = addrsOf(resolvers)
	}
	return dns.NewServers(routes, addrsOf(config.Resolvers))
}

func addrsOf(resolvers []tailcfg.Resolver) (texts []string) {
	for _, r := range resolvers {
		texts = append(texts, r.Addr)
	}
	return texts
}
