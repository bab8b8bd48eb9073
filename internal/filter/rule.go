package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// rule allows packets from srcs to any of dsts.
type rule struct {
	protos protoSet
	srcs   sources
	dsts   []dest
}

// allows reports whether the rule accepts p, which is no answer to anything we
// sent. Destinations come first: there are few.
func (r *rule) allows(p *Packet) bool {
	// ICMP passes wherever anything does.
	if p.class != classICMP && !r.protos.has(p.Proto) {
		return false
	}
	for i := range r.dsts {
		if r.dsts[i].covers(p) {
			return r.srcs.contains(p.Src.Addr())
		}
	}
	return false
}

// sources is whom a rule is for.
type sources struct {
	addrs addrSet
	caps  []addrSet // the peers with a capability: sets that rules share
}

func (s *sources) contains(addr netip.Addr) bool {
	return s.addrs.contains(addr) || slices.ContainsFunc(s.caps, func(set addrSet) bool { return set.contains(addr) })
}

func (s *sources) empty() bool { return s.addrs.empty() && len(s.caps) == 0 }

// dest is addresses and ports.
type dest struct {
	addrs addrRange
	ports tailcfg.PortRange
}

func (d *dest) covers(p *Packet) bool { return d.coversPort(p) && d.addrs.Contains(p.Dst.Addr()) }

func (d *dest) coversPort(p *Packet) bool {
	switch p.class {
	case classICMP:
		return true
	case classOther: // without ports: only a rule for all of them speaks of it
		return d.ports == tailcfg.PortRange{First: 0, Last: math.MaxUint16}
	default:
		return d.ports.First <= p.Dst.Port() && p.Dst.Port() <= d.ports.Last
	}
}

// protoSet is a set of IP protocol numbers.
type protoSet [256 / 64]uint64

func (s *protoSet) add(proto uint8)      { s[proto/64] |= 1 << (proto % 64) }
func (s *protoSet) has(proto uint8) bool { return s[proto/64]&(1<<(proto%64)) != 0 }

// grant gives sources capabilities at any of dsts.
type grant struct {
	srcs sources
	dsts []netip.Prefix
	caps map[string][]json.RawMessage
}

func (g *grant) applies(src, dst netip.Addr) bool {
	return g.srcs.contains(src) && slices.ContainsFunc(g.dsts, func(p netip.Prefix) bool { return p.Contains(dst) })
}

// compiler turns rules into what the filter works with, and remembers what is
// wrong with them.
type compiler struct {
	capSources map[string]addrSet // the peers with a capability
	errs       []error
	moreErrs   int
}

// maxErrors is how many bad entries are described; the others are counted.
const maxErrors = 10

func (c *compiler) bad(err error) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, err)
	} else {
		c.moreErrs++
	}
}

func (c *compiler) err() error {
	if c.moreErrs > 0 {
		return errors.Join(append(c.errs, fmt.Errorf("and %d more", c.moreErrs))...)
	}
	return errors.Join(c.errs...)
}

// compile returns the rule and the grants of r. The rule is nil when it allows
// nothing.
func (c *compiler) compile(r tailcfg.FilterRule) (*rule, []grant) {
	srcs := c.sources(r.SrcIPs)
	dsts := c.dests(r.DstPorts)
	if srcs.empty() {
		return nil, nil
	}
	grants := make([]grant, len(r.CapGrant))
	for i, g := range r.CapGrant {
		grants[i] = grant{srcs, slices.Clone(g.Dsts), capsOf(g)}
	}
	if len(dsts) == 0 {
		return nil, grants
	}
	return &rule{protosOf(r.IPProto), srcs, dsts}, grants
}

func (c *compiler) sources(entries []string) (srcs sources) {
	var ranges []addrRange
	for _, entry := range entries {
		if name, ok := strings.CutPrefix(entry, "cap:"); ok {
			if set := c.capSources[name]; !set.empty() {
				srcs.caps = append(srcs.caps, set)
			}
			continue
		}
		rs, err := parseAddrs(entry)
		if err != nil {
			c.bad(fmt.Errorf("source: %w", err))
		}
		ranges = append(ranges, rs...)
	}
	srcs.addrs = newAddrSet(ranges)
	return srcs
}

func (c *compiler) dests(ports []tailcfg.NetPortRange) (dsts []dest) {
	for _, d := range ports {
		rs, err := parseAddrs(d.IP)
		if err == nil && d.Ports.First > d.Ports.Last {
			rs, err = nil, fmt.Errorf("there are no ports from %d to %d", d.Ports.First, d.Ports.Last)
		}
		if err != nil {
			c.bad(fmt.Errorf("destination: %w", err))
		}
		for _, r := range rs {
			dsts = append(dsts, dest{r, d.Ports})
		}
	}
	return dsts
}

// protosOf returns the protocols of a rule; none stand for the usual ones.
// Numbers that are no protocol are ignored.
func protosOf(protos []int) (set protoSet) {
	if len(protos) == 0 {
		protos = []int{protoTCP, protoUDP, protoICMP, protoICMPv6}
	}
	for _, n := range protos {
		if n >= 0 && n <= math.MaxUint8 {
			set.add(uint8(n))
		}
	}
	return set
}

func capsOf(g tailcfg.CapGrant) map[string][]json.RawMessage {
	caps := maps.Clone(g.CapMap)
	if caps == nil {
		caps = make(map[string][]json.RawMessage, len(g.Caps))
	}
	for _, name := range g.Caps {
		if _, ok := caps[name]; !ok {
			caps[name] = nil
		}
	}
	delete(caps, "")
	return caps
}

// capSources returns the addresses of the peers that have one of the
// capabilities which rules name as sources.
func capSources(rules []tailcfg.FilterRule, peers []*tailcfg.Node) map[string]addrSet {
	ranges := make(map[string][]addrRange)
	for _, r := range rules {
		for _, entry := range r.SrcIPs {
			if name, ok := strings.CutPrefix(entry, "cap:"); ok {
				ranges[name] = nil
			}
		}
	}
	if len(ranges) == 0 {
		return nil
	}
	for _, peer := range peers {
		if peer == nil {
			continue
		}
		for name := range peer.CapMap {
			if rs, wanted := ranges[name]; wanted {
				ranges[name] = appendPrefixes(rs, peer.Addresses)
			}
		}
	}
	sets := make(map[string]addrSet, len(ranges))
	for name, rs := range ranges {
		sets[name] = newAddrSet(rs)
	}
	return sets
}
