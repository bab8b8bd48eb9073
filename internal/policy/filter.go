package policy

import (
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// packetFilter is a node's packet filter.
type packetFilter struct {
	sources []*set // of which the sources were made, in the order of sourceSets
	rules   []tailcfg.FilterRule
}

// sourceSets yields the sets of which a node's filter is made.
func (c *Compiled) sourceSets(n *node) func(yield func(*set) bool) {
	return func(yield func(*set) bool) {
		for _, i := range n.class.targets {
			if from := c.policy.index.rules[i].sources; from != everySet && !yield(c.set(from)) {
				return
			}
		}
		if n.class.selfSet != 0 {
			yield(c.set(n.class.selfSet))
		}
	}
}

// fresh reports whether f is still the filter of n.
func (c *Compiled) fresh(f *packetFilter, n *node) bool {
	i := 0
	for s := range c.sourceSets(n) {
		if f.sources[i] != s {
			return false
		}
		i++
	}
	return true
}

// filter makes the packet filter of a node.
func (c *Compiled) filter(n *node) *packetFilter {
	f := &packetFilter{rules: []tailcfg.FilterRule{}}
	for s := range c.sourceSets(n) {
		f.sources = append(f.sources, s)
	}
	for _, i := range n.class.targets {
		w := writer{c.policy, n, c.policy.rules[i], c.sources(i)}
		f.rules = w.appendRules(f.rules, false)
	}
	for _, i := range n.class.selfs {
		w := writer{c.policy, n, c.policy.rules[i], c.set(n.class.selfSet).sourceTexts()}
		f.rules = w.appendRules(f.rules, true)
	}
	return f
}

// sources returns the sources of a rule as filters write them.
func (c *Compiled) sources(rule int) []string {
	sets := &c.policy.index.rules[rule]
	if sets.sources == everySet {
		return sets.literals
	}
	texts := c.set(sets.sources).sourceTexts()
	if len(sets.literals) == 0 {
		return texts
	}
	return append(texts[:len(texts):len(texts)], sets.literals...)
}

// writer writes one rule into the filter of one node.
type writer struct {
	policy  *Policy
	node    *node
	rule    *rule
	sources []string
}

// appendRules appends what the rule says of its destination autogroup:self, or
// of all others.
func (w *writer) appendRules(rules []tailcfg.FilterRule, ofSelf bool) []tailcfg.FilterRule {
	if len(w.sources) == 0 {
		return rules
	}
	for i := range w.rule.allow {
		a := &w.rule.allow[i]
		if ports := w.ports(a, ofSelf); len(ports) > 0 {
			rules = append(rules, tailcfg.FilterRule{SrcIPs: w.sources, DstPorts: ports, IPProto: a.protos})
		}
	}
	if w.rule.caps != nil {
		if dsts := w.dsts(ofSelf); len(dsts) > 0 {
			grant := tailcfg.CapGrant{Dsts: dsts, CapMap: w.rule.caps}
			rules = append(rules, tailcfg.FilterRule{SrcIPs: w.sources, CapGrant: []tailcfg.CapGrant{grant}})
		}
	}
	return rules
}

// ports returns where on the node a lets the sources go.
func (w *writer) ports(a *allow, ofSelf bool) (all []tailcfg.NetPortRange) {
	for i := range w.rule.dst {
		t := &w.rule.dst[i]
		if (t.kind == self) != ofSelf {
			continue
		}
		for _, addrs := range w.addrs(t.selector) {
			for _, r := range t.portsOf(a) {
				all = append(all, tailcfg.NetPortRange{IP: addrs, Ports: r})
			}
		}
	}
	return all
}

// addrs returns what a destination is on the node, as filters write it.
func (w *writer) addrs(s selector) []string {
	switch {
	case s.kind == everyone:
		return []string{"*"}
	case s.kind == internet && w.node.exits():
		return w.policy.internetTexts()
	case s.kind == self || w.policy.names(s, &w.node.Node):
		return w.node.own
	case s.kind == addresses && w.concerns(s.prefix):
		return []string{s.String()}
	default:
		return nil
	}
}

func (w *writer) concerns(prefix netip.Prefix) bool {
	u := netUse{prefix, w.policy.isPublic(prefix), use{mark: isTarget}}
	return u.markOf(&w.node.Node) != 0
}

// dsts returns where on the node the sources have capabilities: programs ask
// for those at the node's own addresses.
func (w *writer) dsts(ofSelf bool) (dsts []netip.Prefix) {
	for i := range w.rule.dst {
		t := &w.rule.dst[i]
		if (t.kind == self) != ofSelf {
			continue
		}
		switch {
		case t.kind == addresses && !w.policy.names(t.selector, &w.node.Node):
			if w.concerns(t.prefix) {
				dsts = append(dsts, t.prefix)
			}
		case len(w.addrs(t.selector)) > 0:
			for _, a := range w.node.Addrs {
				dsts = append(dsts, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return dsts
}

func (p *Policy) internetTexts() []string {
	var texts []string
	for _, r := range p.internet.Ranges() {
		texts = append(texts, rangeText(r.From(), r.To()))
	}
	return texts
}
