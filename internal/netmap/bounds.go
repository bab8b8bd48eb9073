package netmap

import "fmt"

// What a map may grow to over many responses.
const (
	maxPeers       = 100_000
	maxUsers       = 100_000
	maxRecords     = 100_000
	maxRuleEntries = 1 << 20
	maxRegions     = 1000
)

// checkBounds returns an error when the map has become too large to keep. It
// runs before anything is built from the lists.
func (m *Map) checkBounds() error {
	var regions, scores, records int
	if m.DERPMap != nil {
		regions = len(m.DERPMap.Regions)
		if p := m.DERPMap.HomeParams; p != nil {
			scores = len(p.RegionScore)
		}
	}
	if m.DNS != nil {
		records = len(m.DNS.ExtraRecords)
	}
	for _, bound := range []struct {
		what    string
		n, most int
	}{
		{"peers", len(m.nodes), maxPeers},
		{"user profiles", len(m.users), maxUsers},
		{"extra DNS records", records, maxRecords},
		{"filter rule entries", m.ruleEntries() + len(m.filters), maxRuleEntries},
		{"relay regions", regions, maxRegions},
		{"scores of relay regions", scores, maxRegions},
	} {
		if bound.n > bound.most {
			return fmt.Errorf("netmap: the coordinator sent %d %s, of which %d are the most we keep", bound.n, bound.what, bound.most)
		}
	}
	return nil
}

func (m *Map) ruleEntries() (n int) {
	for _, r := range m.Rules {
		n += 1 + len(r.SrcIPs) + len(r.DstPorts) + len(r.IPProto) + len(r.CapGrant)
	}
	return n
}
