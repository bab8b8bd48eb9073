package dns

import (
	"net/netip"
	"strings"
)

// Servers says which DNS servers are asked for what. The zero Servers is none.
type Servers struct {
	bySuffix map[string][]netip.AddrPort // suffixes in lower case, without dots around them
	others   []netip.AddrPort
}

// NewServers returns the servers of suffixes, and those for all other names. Of
// the texts, those are used that are an address, or an address and a port: what
// has to be looked up, or spoken to over HTTPS, is not.
func NewServers(routes map[string][]string, others []string) Servers {
	s := Servers{bySuffix: make(map[string][]netip.AddrPort), others: parseServers(others)}
	for suffix, texts := range routes {
		s.bySuffix[bare(suffix)] = parseServers(texts)
	}
	return s
}

func bare(name string) string { return strings.ToLower(strings.Trim(name, ".")) }

const (
	serverPort = 53
	maxServers = 8 // of one suffix
)

func parseServers(texts []string) (servers []netip.AddrPort) {
	for _, text := range texts {
		if ip, err := netip.ParseAddr(text); err == nil {
			servers = append(servers, netip.AddrPortFrom(ip.Unmap(), serverPort))
		} else if at, err := netip.ParseAddrPort(text); err == nil {
			servers = append(servers, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		}
		if len(servers) == maxServers {
			break
		}
	}
	return servers
}

// For returns the servers that know a name: those of the longest suffix.
func (s Servers) For(name string) []netip.AddrPort {
	suffix := bare(name)
	for {
		if servers, ok := s.bySuffix[suffix]; ok {
			return servers
		}
		if suffix == "" {
			return s.others
		}
		_, suffix, _ = strings.Cut(suffix, ".")
	}
}
