package main

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/meshnet-go/meshnet/bench/internal/node"
)

// Traffic reads the counters that the node has for its user, whose text is
// Prometheus':
//
//	tailscaled_outbound_bytes_total{path="derp"} 1234
func (p *peer) Traffic() (t node.Traffic, err error) {
	var text page
	p.Sys().UserMetricsRegistry().Handler(&text, nil)
	for line := range strings.Lines(text.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "tailscaled_outbound_bytes_total{") && !strings.HasPrefix(name, "tailscaled_inbound_bytes_total{") {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return t, err
		}
		if strings.Contains(name, `"direct_`) {
			t.Direct += n
		} else {
			t.Relayed += n
		}
	}
	return t, nil
}

// page is what a handler writes.
type page struct{ strings.Builder }

func (*page) Header() http.Header { return make(http.Header) }
func (*page) WriteHeader(int)     {}
