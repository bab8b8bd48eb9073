package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// Flow is traffic that a node would start.
type Flow struct {
	From, To Node
	// Src and Dst are the addresses of the packets: one of the nodes' own, or
	// one behind them. The zero Addr stands for any of the node's own.
	Src, Dst netip.Addr
	Proto    uint8  // IP protocol number: 6 is TCP
	Port     uint16 // of Dst, where the protocol has ports
}

// Answer says whether traffic is allowed, and why.
type Answer struct {
	Allowed bool
	// Rule is the rule that allows the traffic, or, where it is not allowed,
	// the one that comes nearest: "acls[3]", counted from 0; "" for none.
	Rule   string
	Line   int    // of the file, where Rule begins; 0 without a file
	Reason string // a sentence without a full stop
}

func (a Answer) String() string {
	verdict := "not allowed"
	if a.Allowed {
		verdict = "allowed"
	}
	return verdict + ": " + a.Reason
}

// Reaches judges traffic as the filter of f.To does with the rules of this
// policy. What answers traffic of f.To is allowed without rules, and is not
// what f is about.
func (p *Policy) Reaches(f Flow) Answer {
	f.From, f.To = f.From.canonical(), f.To.canonical()
	var nearest Answer
	for _, pair := range f.pairs() {
		a := p.reaches(&f, pair[0], pair[1])
		if a.Allowed {
			return a
		}
		if nearest.Reason == "" || nearest.Rule == "" {
			nearest = a
		}
	}
	if nearest.Reason == "" {
		nearest.Reason = "the nodes have no addresses of one family"
	}
	return nearest
}

// pairs returns the addresses, of source and destination, that packets of f
// may have.
func (f *Flow) pairs() (pairs [][2]netip.Addr) {
	srcs, dsts := []netip.Addr{f.Src.Unmap()}, []netip.Addr{f.Dst.Unmap()}
	if !f.Src.IsValid() {
		srcs = f.From.Addrs
	}
	if !f.Dst.IsValid() {
		dsts = f.To.Addrs
	}
	for _, src := range srcs {
		for _, dst := range dsts {
			if src.BitLen() == dst.BitLen() {
				pairs = append(pairs, [2]netip.Addr{src, dst})
			}
		}
	}
	return pairs
}

func (p *Policy) reaches(f *Flow, src, dst netip.Addr) Answer {
	from := party{at: netip.PrefixFrom(src, src.BitLen())}
	if f.From.owns(src) {
		from.node = &f.From
	}
	to, ok := receiver(&f.To, dst)
	if !ok {
		return Answer{Reason: fmt.Sprintf("%v is no address of %s, and no approved route of it leads there", dst, describe(&f.To))}
	}
	return p.judge(from, to, f.Proto, f.Port)
}

// receiver returns the party that is dst at n; false when dst is not there.
func receiver(n *Node, dst netip.Addr) (party, bool) {
	to := party{at: netip.PrefixFrom(dst, dst.BitLen()), exit: n.exits()}
	if n.owns(dst) {
		to.node = n
		return to, true
	}
	leads, viaExit := n.leadsTo(dst)
	to.viaExit = viaExit
	return to, leads
}

// judge looks for a rule that lets from reach to.
func (p *Policy) judge(from, to party, proto uint8, port uint16) Answer {
	if proto == protoTSMP {
		return Answer{Allowed: true, Reason: "TSMP needs no rule: nodes tell each other with it what went wrong"}
	}
	sources := 0
	var near *nearMiss
	for _, r := range p.rules {
		if !p.hasSource(r, from) {
			continue
		}
		sources++
		ok, meets, allows := p.lets(r, from, to, proto, port)
		if ok {
			return Answer{true, r.name, r.line, fmt.Sprintf("%s lets %s reach %s", r.at(), who(from), who(to))}
		}
		if meets && near == nil {
			near = &nearMiss{r, allows}
		}
	}
	switch {
	case near != nil:
		return near.answer(who(from), who(to), flowText(proto, port))
	case sources > 0:
		return Answer{Reason: fmt.Sprintf("of the %d rules that have %s as a source, none has %s as a destination", sources, who(from), who(to))}
	default:
		return Answer{Reason: fmt.Sprintf("no rule has %s as a source", who(from))}
	}
}

// nearMiss is a rule for source and destination, but not for what they send.
type nearMiss struct {
	rule   *rule
	allows []string // what it is for
}

func (m *nearMiss) answer(from, to, what string) Answer {
	reason := fmt.Sprintf("%s grants capabilities, but no traffic, from %s to %s", m.rule.at(), from, to)
	if len(m.allows) > 0 {
		reason = fmt.Sprintf("%s lets %s reach %s by %s, not by %s", m.rule.at(), from, to, strings.Join(m.allows, " and "), what)
	}
	return Answer{false, m.rule.name, m.rule.line, reason}
}

// flowText names a protocol, and a port where there are some.
func flowText(proto uint8, port uint16) string {
	if !hasPorts(int(proto)) {
		return protoText(int(proto))
	}
	return fmt.Sprintf("%s %d", protoText(int(proto)), port)
}

// lets reports whether a rule, of which from is a source, allows the traffic;
// whether to is among its destinations at all; and what it allows there.
func (p *Policy) lets(r *rule, from, to party, proto uint8, port uint16) (ok, meets bool, allows []string) {
	for i := range r.dst {
		t := &r.dst[i]
		if !p.receives(t.selector, from, to) {
			continue
		}
		meets = true
		for j := range r.allow {
			a := &r.allow[j]
			if passes(a.protos, t.portsOf(a), proto, port) {
				return true, true, nil
			}
			if len(allows) < 4 {
				allows = append(allows, portsText(a.protos, t.portsOf(a)))
			}
		}
	}
	return false, meets, allows
}

// at says where a rule stands, for people.
func (r *rule) at() string {
	if r.line == 0 {
		return "the default policy"
	}
	return fmt.Sprintf("%s (line %d)", r.name, r.line)
}

// who describes a party for people.
func who(w party) string {
	switch {
	case w.node != nil:
		return describe(w.node)
	case !w.at.IsValid():
		return "the internet"
	case w.at.IsSingleIP():
		return w.at.Addr().String()
	default:
		return w.at.String()
	}
}

// describe names a node by what policies look at.
func describe(n *Node) string {
	switch {
	case n.tagged():
		return "a node of " + strings.Join(n.Tags, ", ")
	case n.User != "":
		return "a node of " + n.User
	default:
		return "a node without user"
	}
}
