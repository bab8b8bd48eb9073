package coord

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Bounds of what a node reports, because every other node gets it.
const (
	maxEndpoints = 64
	maxHostinfo  = 16 << 10 // bytes of JSON
	maxRegion    = 65535    // of a relay
	maxLatencies = 256
)

// describeAnew takes over what a registration says of its node.
func (s *state) describeAnew(n *node, req *tailcfg.RegisterRequest) *node {
	return s.update(n, func(n *node) {
		n.Version = req.Version
		s.setHostinfo(n, req.Hostinfo)
	})
}

// report takes over what a map request says of its node. What is absent stays
// as it was.
func (s *state) report(n *node, req *tailcfg.MapRequest) *node {
	return s.update(n, func(n *node) {
		if req.Version >= minVersion {
			n.Version = req.Version
		}
		if !req.DiscoKey.IsZero() {
			n.DiscoKey = req.DiscoKey
		}
		n.Endpoints = usableEndpoints(req.Endpoints)
		s.setHostinfo(n, req.Hostinfo)
	})
}

// recall fills from a stream's request what the record lacks. Streams of
// current nodes do not report, and theirs may be older than the last report.
func (s *state) recall(n *node, req *tailcfg.MapRequest) *node {
	if !n.DiscoKey.IsZero() {
		return n
	}
	return s.report(n, req)
}

// update is change that leaves the record, and so the peers, in peace when
// nothing is different.
func (s *state) update(n *node, f func(*node)) *node {
	changed := *n
	f(&changed)
	if reflect.DeepEqual(*n, changed) {
		return n
	}
	s.putNode(&changed)
	return &changed
}

func (s *state) setHostinfo(n *node, h *tailcfg.Hostinfo) {
	if h == nil {
		return
	}
	if ni := h.NetInfo; ni != nil { // nodes leave it out when it has not changed
		if ni.PreferredDERP > 0 && ni.PreferredDERP <= maxRegion {
			n.HomeDERP = ni.PreferredDERP
		}
		if latency := latenciesOf(ni); !similar(n.Latency, latency) {
			n.Latency = latency
		}
	}
	n.Hostinfo = bounded(h)
	s.autoApprove(n)
	if wanted := label(h.Hostname); h.Hostname != "" && wanted != n.Wanted {
		n.Wanted = wanted
		if !n.Renamed {
			n.Name = s.uniqueName(wanted, n.ID)
		}
	}
}

// latencies are those of relays, by region.
type latencies = map[int]time.Duration

// latenciesOf returns the latencies that a node reports, the lower of IPv4 and
// IPv6: its keys are such as "1-v4", its values seconds.
func latenciesOf(ni *tailcfg.NetInfo) latencies {
	all := make(latencies)
	for name, seconds := range ni.DERPLatency {
		text, _, _ := strings.Cut(name, "-")
		region, err := strconv.Atoi(text)
		if err != nil || region < 1 || region > maxRegion || !(seconds >= 0 && seconds < 60) {
			continue
		}
		latency := time.Duration(seconds * float64(time.Second)).Round(100 * time.Microsecond)
		if known, ok := all[region]; (!ok || latency < known) && (ok || len(all) < maxLatencies) {
			all[region] = latency
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// similar reports whether latencies are not worth a change of the record: they
// are never twice the same.
func similar(a, b latencies) bool {
	for region, was := range a {
		is, ok := b[region]
		if !ok || (is-was).Abs() > max(2*time.Millisecond, was/5) {
			return false
		}
	}
	return len(a) == len(b)
}

// bounded returns the part of h that is kept and shown to peers. Of one that is
// too large only what people look for remains.
func bounded(h *tailcfg.Hostinfo) tailcfg.Hostinfo {
	b := *h
	b.NetInfo, b.RequestTags = nil, nil // peers have HomeDERP and Tags
	b.RoutableIPs = usableRoutes(h.RoutableIPs)
	if data, err := json.Marshal(b); err == nil && len(data) <= maxHostinfo {
		return b
	}
	return tailcfg.Hostinfo{OS: cut(h.OS), Hostname: cut(h.Hostname), RoutableIPs: b.RoutableIPs}
}

// cut returns the beginning of s, and does not hold on to the rest.
func cut(s string) string { return strings.Clone(strings.ToValidUTF8(s[:min(len(s), 256)], "")) }

// usableEndpoints returns those at which a peer could reach the node.
func usableEndpoints(eps []netip.AddrPort) []netip.AddrPort {
	var usable []netip.AddrPort
	for _, ep := range eps {
		a := ep.Addr()
		if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast() || ep.Port() == 0 {
			continue
		}
		if usable = append(usable, ep); len(usable) == maxEndpoints {
			break
		}
	}
	return usable
}
