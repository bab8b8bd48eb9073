package netmap

import (
	"maps"
	"slices"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	baseFilter = "base" // what PacketFilter means in PacketFilters
	allFilters = "*"
)

// applyFilters changes the filters by name, and the rules of all of them.
func (m *Map) applyFilters(resp *tailcfg.MapResponse) {
	if resp.PacketFilter == nil && resp.PacketFilters == nil {
		return
	}
	filters := make(map[string][]tailcfg.FilterRule)
	maps.Copy(filters, m.filters)
	if resp.PacketFilter != nil {
		filters[baseFilter] = resp.PacketFilter
	}
	if rules, ok := resp.PacketFilters[allFilters]; ok && rules == nil {
		clear(filters)
	}
	for name, rules := range resp.PacketFilters {
		switch {
		case name == allFilters:
		case rules == nil:
			delete(filters, name)
		default:
			filters[name] = rules
		}
	}
	m.filters, m.FilterKnown = filters, true
	m.Rules = nil
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		m.Rules = append(m.Rules, filters[name]...)
	}
}
