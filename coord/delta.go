package coord

import (
	"iter"
	"reflect"
	"slices"

	"github.com/meshnet-go/meshnet/internal/policy"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// fullMap returns the first frame of a stream: all that the node may know.
func fullMap(s *snapshot, v sight) *tailcfg.MapResponse {
	resp := &tailcfg.MapResponse{
		Node:          s.self(v.self),
		DERPMap:       s.derp,
		DNSConfig:     s.dnsOf(v.self),
		Domain:        s.domain,
		PacketFilters: baseFilter(v.view),
		Debug:         &tailcfg.Debug{DisableLogTail: true},
	}
	users := []tailcfg.UserID{v.self.shownUser()}
	for id := range v.view.Peers() {
		if n := s.find(id); v.sees(n) {
			resp.Peers = append(resp.Peers, n.wire(s.domain))
			users = append(users, n.shownUser())
		}
	}
	resp.UserProfiles = s.profiles(users)
	return resp
}

// baseFilter returns the packet filter, under the one name that we use.
func baseFilter(v *policy.View) map[string][]tailcfg.FilterRule {
	return map[string][]tailcfg.FilterRule{"base": v.Rules()}
}

// delta returns what a node has to be told of changes, or nil when they do not
// concern it.
func delta(old, next sight, changes iter.Seq2[*node, *node]) *tailcfg.MapResponse {
	resp, users := new(tailcfg.MapResponse), []tailcfg.UserID(nil)
	renamed := func(n *node) bool { return old.terms.users[n.User] != next.terms.users[n.User] }
	if selfChanged(old.self, next.self) || old.terms.authority != next.terms.authority {
		resp.Node = next.terms.self(next.self)
	}
	if resp.Node != nil || renamed(next.self) {
		users = append(users, next.self.shownUser())
	}
	if old.terms.derp != next.terms.derp {
		resp.DERPMap = next.terms.derp
	}
	if old.terms.dns != next.terms.dns || next.terms.publishes && old.self.Name != next.self.Name {
		resp.DNSConfig = next.terms.dnsOf(next.self)
	}
	if !next.view.SameRules(old.view) && !reflect.DeepEqual(next.view.Rules(), old.view.Rules()) {
		resp.PacketFilters = baseFilter(next.view)
	}
	for before, after := range changes {
		knew, may := old.sees(before), next.sees(after)
		switch {
		case knew && !may:
			resp.PeersRemoved = append(resp.PeersRemoved, before.ID)
		case may && !knew:
			resp.PeersChanged = append(resp.PeersChanged, after.wire(next.terms.domain))
		case may && before != after:
			tellChange(resp, next.terms.domain, before, after)
		}
		if may && (!knew || before.shownUser() != after.shownUser() || renamed(after)) {
			users = append(users, after.shownUser())
		}
	}
	resp.UserProfiles = next.terms.profiles(users)
	if reflect.DeepEqual(*resp, tailcfg.MapResponse{}) {
		return nil
	}
	return resp
}

// farewell tells a node that it was removed, in words that nodes understand:
// its key has expired, and it has no peers.
func farewell(old sight) *tailcfg.MapResponse {
	expired := *old.self
	expired.KeyExpiry, expired.Expired = expired.Created, true
	return &tailcfg.MapResponse{
		Node:         expired.wire(old.terms.domain),
		PeersRemoved: slices.Collect(old.view.Peers()), // of some of them it was not told
	}
}

// selfChanged reports whether a node has to be told of itself. What it reported
// or did itself it knows, but not what was made of it.
func selfChanged(was, self *node) bool {
	return was != self && (!slices.Equal(was.allowedIPs(), self.allowedIPs()) || !reflect.DeepEqual(withReportOf(was, self), *self))
}

// withReportOf returns n with what src is and has reported at the moment.
func withReportOf(n, src *node) node {
	m := *n
	m.Version, m.DiscoKey, m.HomeDERP, m.Endpoints, m.Hostinfo = src.Version, src.DiscoKey, src.HomeDERP, src.Endpoints, src.Hostinfo
	m.Stream, m.LastSeen, m.Wanted, m.Latency = src.Stream, src.LastSeen, src.Wanted, src.Latency
	return m
}

// tellChange adds a peer's change to resp, in the smallest form that can say
// it.
func tellChange(resp *tailcfg.MapResponse, domain string, before, after *node) {
	patch, ok := patchOf(before, after)
	online := after.online()
	switch {
	case !ok:
		resp.PeersChanged = append(resp.PeersChanged, after.wire(domain))
	case reflect.DeepEqual(patch, tailcfg.PeerChange{NodeID: after.ID, Online: &online}):
		if resp.OnlineChange == nil {
			resp.OnlineChange = make(map[tailcfg.NodeID]bool)
		}
		resp.OnlineChange[after.ID] = online
	case !reflect.DeepEqual(patch, tailcfg.PeerChange{NodeID: after.ID}):
		resp.PeersChangedPatch = append(resp.PeersChangedPatch, &patch)
	}
}

// patchOf returns the change as a patch. It reports false when a patch cannot
// say it: not all fields have a place there, and to most of those that have,
// absent means unchanged.
func patchOf(before, after *node) (tailcfg.PeerChange, bool) {
	patch, rest := tailcfg.PeerChange{NodeID: after.ID}, *before
	if before.HomeDERP != after.HomeDERP && after.HomeDERP != 0 {
		patch.DERPRegion, rest.HomeDERP = after.HomeDERP, after.HomeDERP
	}
	if before.Version != after.Version {
		patch.Cap, rest.Version = after.Version, after.Version
	}
	if !slices.Equal(before.Endpoints, after.Endpoints) && len(after.Endpoints) > 0 {
		patch.Endpoints, rest.Endpoints = after.Endpoints, after.Endpoints
	}
	if before.DiscoKey != after.DiscoKey && !after.DiscoKey.IsZero() {
		patch.DiscoKey, rest.DiscoKey = &after.DiscoKey, after.DiscoKey
	}
	if !before.KeyExpiry.Equal(after.KeyExpiry) && !after.KeyExpiry.IsZero() {
		patch.KeyExpiry, rest.KeyExpiry = &after.KeyExpiry, after.KeyExpiry
	}
	online := after.online()
	if before.online() != online {
		patch.Online = &online
	}
	if !online && (before.online() || !before.LastSeen.Equal(after.LastSeen)) { // nothing is told of it while online
		patch.LastSeen = &after.LastSeen
	}
	rest.Stream, rest.LastSeen, rest.Wanted, rest.Latency = after.Stream, after.LastSeen, after.Wanted, after.Latency
	return patch, reflect.DeepEqual(rest, *after)
}
