package netcheck

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// endpointAge is how long a public address is remembered after a server
	// saw it: one full round more than the time between two.
	endpointAge = fullEvery + 10*time.Second

	maxEndpoints = 16 // remembered, of each family
	maxMappings  = 16
)

// Endpoint is a public address of ours.
type Endpoint struct {
	Addr netip.AddrPort
	Seen time.Time // when a server last saw it; zero when that was in another network
}

// Mapping is one that our NAT made: what it maps our socket to, towards a
// server.
type Mapping struct {
	Server, Addr netip.AddrPort
	At           time.Time // when the answer came that showed it
}

// addresses is where servers saw us.
type addresses struct {
	endpoints []endpoint    // in the order in which they were seen first
	mappings  []madeMapping // in the order in which requests made them
}

type endpoint struct {
	Endpoint
	server netip.AddrPort // that saw it first
	told   bool           // it is one to tell others
}

type madeMapping struct {
	Mapping
	order int
}

// doubt says that the network is another: what the next round does not see is
// gone.
func (a *addresses) doubt() {
	for i := range a.endpoints {
		a.endpoints[i].Seen = time.Time{}
	}
	a.mappings = nil
}

// saw notes an answer. The first address of a family is told at once, and any
// that two servers agree on; behind a hard NAT, every server sees another,
// which is of no use to anybody else.
func (a *addresses) saw(now time.Time, v view) {
	at := slices.IndexFunc(a.endpoints, func(e endpoint) bool { return e.Addr == v.mapped })
	if at < 0 {
		a.makeRoom(v.mapped.Addr().Is4())
		at = len(a.endpoints)
		a.endpoints = append(a.endpoints, endpoint{Endpoint{Addr: v.mapped}, v.server, false})
	}
	e := &a.endpoints[at]
	e.Seen = now
	e.told = e.told || e.server != v.server || !a.toldAny(v.mapped.Addr().Is4())
	if v.mapped.Addr().Is4() {
		a.made(now, v)
	}
}

// makeRoom forgets an address of a family, if there are too many: the oldest
// of those that nobody was told, else the oldest.
func (a *addresses) makeRoom(ipv4 bool) {
	n, worst := 0, -1
	for i, e := range a.endpoints {
		if e.Addr.Addr().Is4() != ipv4 {
			continue
		}
		n++
		if worst < 0 || e.before(a.endpoints[worst]) {
			worst = i
		}
	}
	if n >= maxEndpoints {
		a.endpoints = slices.Delete(a.endpoints, worst, worst+1)
	}
}

// before reports whether an address is to be forgotten before another.
func (e endpoint) before(f endpoint) bool {
	return cmp.Or(trueFirst(!e.told, !f.told), e.Seen.Compare(f.Seen)) < 0
}

// toldAny reports whether an address of a family is told that is not in doubt.
func (a *addresses) toldAny(ipv4 bool) bool {
	return slices.ContainsFunc(a.endpoints, func(e endpoint) bool {
		return e.told && !e.Seen.IsZero() && e.Addr.Addr().Is4() == ipv4
	})
}

// made notes a mapping, if it is new, among the others in the order in which
// the requests were sent that made them.
func (a *addresses) made(now time.Time, v view) {
	if slices.ContainsFunc(a.mappings, func(m madeMapping) bool { return m.Server == v.server && m.Addr == v.mapped }) {
		return
	}
	at, _ := slices.BinarySearchFunc(a.mappings, v.order, func(m madeMapping, order int) int { return cmp.Compare(m.order, order) })
	a.mappings = slices.Insert(a.mappings, at, madeMapping{Mapping{v.server, v.mapped, now}, v.order})
	a.mappings = a.mappings[max(0, len(a.mappings)-maxMappings):]
}

// conclude ends a round that showed views: there is an address to tell for each
// family that was seen, and what is too old is forgotten.
func (a *addresses) conclude(now time.Time, views []view) {
	a.endpoints = slices.DeleteFunc(a.endpoints, func(e endpoint) bool { return now.Sub(e.Seen) > endpointAge })
	for _, ipv4 := range []bool{true, false} {
		of := slices.DeleteFunc(slices.Clone(views), func(v view) bool { return v.mapped.Addr().Is4() != ipv4 })
		if len(of) == 0 || slices.ContainsFunc(of, func(v view) bool { return a.isTold(v.mapped) }) {
			continue
		}
		nearest := slices.MinFunc(of, func(v, w view) int { return cmp.Compare(v.latency, w.latency) })
		for i := range a.endpoints {
			e := &a.endpoints[i]
			e.told = e.told || e.Addr == nearest.mapped
		}
	}
}

func (a *addresses) isTold(addr netip.AddrPort) bool {
	return slices.ContainsFunc(a.endpoints, func(e endpoint) bool { return e.told && e.Addr == addr })
}

// tell returns the addresses that others may be told.
func (a *addresses) tell() (all []Endpoint) {
	for _, e := range a.endpoints {
		if e.told {
			all = append(all, e.Endpoint)
		}
	}
	return all
}

// mappingVaries reports whether the NAT maps our socket differently for
// different servers, going by the IPv4 answers of one round. Two servers with
// one address that agree say nothing.
func mappingVaries(views []view) Answer {
	answer := Unknown
	for i, v := range views {
		for _, w := range views[:i] {
			if !v.mapped.Addr().Is4() || !w.mapped.Addr().Is4() || v.server == w.server {
				continue
			}
			if v.mapped != w.mapped {
				return Yes
			}
			if v.server.Addr() != w.server.Addr() {
				answer = No
			}
		}
	}
	return answer
}
