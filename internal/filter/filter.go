// Package filter is the packet filter of a node: which packets from peers may
// come in. There is none for what goes out.
//
// A [Filter] is made of the rules that the coordinator sends, and of the peers,
// and does not change; [Flows] is what changes. The verdict on a packet, the
// first that applies:
//
//	there is no filter                      drop
//	empty                                   accept
//	shorter than an IPv4 header             drop
//	not IP, or malformed                    drop
//	to a multicast or link-local address    drop
//	a fragment, not the first               accept
//	not to us nor a route we advertise      drop
//	ICMP echo reply or error                accept
//	TCP, not a SYN                          accept
//	UDP or SCTP that answers ours           accept
//	TSMP                                    accept
//	from a jailed peer                      drop
//	a rule allows it                        accept
//	                                        drop
//
// A rule allows a packet when source, destination, port and protocol are among
// its own. For ICMP only the addresses count, and protocols without ports need
// a rule for all ports.
//
// That a source address is the peer's is WireGuard's business. The rules are
// Tailscale's (v1.102.5, wgengine/filter).
package filter

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Config is what a [Filter] is made of.
type Config struct {
	Rules []tailcfg.FilterRule
	// Local is our own addresses and the routes that we advertise: what may be
	// a destination. Empty: nothing may.
	Local []netip.Prefix
	// Peers may have capabilities that rules name as sources, and may be
	// jailed. A packet is a peer's when it comes from one of its Addresses: a
	// jailed peer must not be let send from anything else.
	Peers []*tailcfg.Node
}

// Filter decides on inbound packets. It is immutable and safe for concurrent
// use. The nil Filter and the zero Filter drop everything.
type Filter struct {
	local    addrSet
	jailed   addrSet
	unsigned addrSet
	rules    []rule
	grants   []grant
}

// Compile makes a filter. The filter can be used whether there is an error or
// not: the error describes entries of rules that were skipped.
func Compile(c Config) (*Filter, error) {
	f := &Filter{
		local:    prefixSet(c.Local),
		jailed:   peerSet(c.Peers, func(n *tailcfg.Node) bool { return n.IsJailed }),
		unsigned: peerSet(c.Peers, func(n *tailcfg.Node) bool { return n.UnsignedPeerAPIOnly }),
	}
	compiler := compiler{capSources: capSources(c.Rules, c.Peers)}
	for _, r := range c.Rules {
		rule, grants := compiler.compile(r)
		if rule != nil {
			f.rules = append(f.rules, *rule)
		}
		f.grants = append(f.grants, grants...)
	}
	if err := compiler.err(); err != nil {
		return f, fmt.Errorf("filter: skipping bad entries: %w", err)
	}
	return f, nil
}

// peerSet returns the addresses of the peers for which is holds.
func peerSet(peers []*tailcfg.Node, is func(*tailcfg.Node) bool) addrSet {
	var ranges []addrRange
	for _, n := range peers {
		if n != nil && is(n) {
			ranges = appendPrefixes(ranges, n.Addresses)
		}
	}
	return newAddrSet(ranges)
}

// Check judges an inbound packet. Flows, which may be nil, is what we sent. It
// allocates nothing.
func (f *Filter) Check(p Packet, flows *Flows) Verdict {
	if f == nil || f.local.empty() {
		return DropNoFilter
	}
	if v, final := screen(&p); final {
		return v
	}
	if !f.local.contains(p.Dst.Addr()) {
		return DropNotLocal
	}
	if v, final := answers(&p, flows); final {
		return v
	}
	if f.jailed.contains(p.Src.Addr()) {
		return DropJailed
	}
	for i := range f.rules {
		if f.rules[i].allows(&p) {
			return AcceptRule
		}
	}
	return DropNoRule
}

// screen judges packets for which it does not matter who we are.
func screen(p *Packet) (v Verdict, final bool) {
	switch dst := p.Dst.Addr(); {
	case p.class == classEmpty:
		return AcceptEmpty, true
	case p.class == classShort:
		return DropShort, true
	case p.class == classUnknown:
		return DropUnknown, true
	case dst.IsMulticast():
		return DropMulticast, true
	case dst.IsLinkLocalUnicast():
		return DropLinkLocal, true
	case p.class == classFragment:
		return AcceptFragment, true
	default:
		return 0, false
	}
}

// answers judges packets that need no rule, from whomever they come.
func answers(p *Packet, flows *Flows) (v Verdict, final bool) {
	switch p.class {
	case classICMP:
		return AcceptAnswer, p.answer
	case classTCP:
		return AcceptAnswer, !p.syn
	case classDatagram:
		return AcceptFlow, flows.expects(p)
	case classTSMP:
		return AcceptTSMP, true
	default:
		return 0, false
	}
}

// capIngress is the only capability that a peer may have which no tailnet lock
// covers.
const capIngress = "https://tailscale.com/cap/ingress"

// Caps returns the capabilities that rules grant to src at dst, with their
// values in the order of the rules. The bytes of the values belong to the
// filter.
func (f *Filter) Caps(src, dst netip.Addr) map[string][]json.RawMessage {
	caps := make(map[string][]json.RawMessage)
	if f == nil {
		return caps
	}
	for i := range f.grants {
		if !f.grants[i].applies(src, dst) {
			continue
		}
		for name, values := range f.grants[i].caps {
			caps[name] = append(caps[name], values...)
		}
	}
	if f.unsigned.contains(src) {
		maps.DeleteFunc(caps, func(name string, _ []json.RawMessage) bool { return name != capIngress })
	}
	return caps
}
