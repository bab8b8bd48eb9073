package policy

import "net/netip"

// index finds the rules that name a node, without asking each of them.
type index struct {
	rules []ruleSets
	base  []mark // of a node that only "*" stands for
	uses  map[selector][]use
	nets  []netUse
	// groups has the groups that each login is in.
	groups map[string][]string
}

// mark says what a node is to one rule.
type mark byte

const (
	isSource mark = 1 << iota // as such: the rule is for all its addresses
	isBehind                  // the rule is for some address of it, or behind it
	isTarget
	isSelf // with the rule, its user reaches it
)

// use is a place where a rule names somebody.
type use struct {
	rule int
	mark mark
}

// netUse is a prefix that a rule has as source or destination.
type netUse struct {
	prefix netip.Prefix
	public bool
	use
}

// ruleSets are the sets of nodes that a rule is about, by their numbers in
// Compiled.sets. Set 0 is all nodes.
type ruleSets struct {
	sources, behind, targets int
	// literals are the sources that need no nodes, as filters write them.
	literals []string
}

const everySet = 0

func newIndex(p *Policy) index {
	x := index{
		rules:  make([]ruleSets, len(p.rules)),
		base:   make([]mark, len(p.rules)),
		uses:   make(map[selector][]use),
		groups: make(map[string][]string),
	}
	for _, name := range sortedKeys(p.groups) {
		for login := range p.groups[name] {
			x.groups[login] = append(x.groups[login], name)
		}
	}
	for i, r := range p.rules {
		x.rules[i] = ruleSets{sources: 1 + 3*i, behind: 2 + 3*i, targets: 3 + 3*i}
		for _, s := range r.src {
			x.add(p, s, use{i, isSource})
		}
		for _, t := range r.dst {
			x.add(p, t.selector, use{i, isTarget})
		}
		x.everybody(i)
	}
	return x
}

// add notes that a rule names s.
func (x *index) add(p *Policy, s selector, u use) {
	switch s.kind {
	case everyone:
		x.base[u.rule] |= u.mark
	case addresses:
		x.nets = append(x.nets, netUse{s.prefix, p.isPublic(s.prefix), u})
		if u.mark == isSource {
			x.rules[u.rule].literals = append(x.rules[u.rule].literals, s.String())
		}
	case self:
		x.base[u.rule] |= isSelf // until classify sees whether the node has a user, and is a source
	default:
		x.uses[s] = append(x.uses[s], u)
	}
}

// everybody makes a rule for all nodes one about set 0.
func (x *index) everybody(i int) {
	sets := &x.rules[i]
	if x.base[i]&isSource != 0 {
		sets.sources, sets.behind, sets.literals = everySet, everySet, []string{"*"}
	}
	if x.base[i]&isTarget != 0 {
		sets.targets = everySet
	}
}

// numSets is how many sets there are before those of users.
func (x *index) numSets() int { return 1 + 3*len(x.rules) }

// marks returns what the canonical node is to each rule.
func (x *index) marks(n *Node) []mark {
	marks := append([]mark(nil), x.base...)
	for _, s := range x.selectors(n) {
		for _, u := range x.uses[s] {
			marks[u.rule] |= u.mark
		}
	}
	for i := range x.nets {
		marks[x.nets[i].rule] |= x.nets[i].markOf(n)
	}
	for i := range marks {
		if marks[i]&isSelf != 0 && (marks[i]&isSource == 0 || n.tagged() || n.User == "") {
			marks[i] &^= isSelf
		}
		if marks[i]&isSource != 0 {
			marks[i] &^= isBehind // it is a source anyway
		}
	}
	return marks
}

// selectors returns those that stand for n, but for addresses and "*".
func (x *index) selectors(n *Node) []selector {
	var all []selector
	if n.exits() {
		all = append(all, selector{kind: internet})
	}
	if n.tagged() {
		all = append(all, selector{kind: tagged})
		for _, name := range n.Tags {
			all = append(all, selector{kind: tag, name: name})
		}
		return all
	}
	all = append(all, selector{kind: member}, selector{kind: user, name: n.User})
	if n.Admin {
		all = append(all, selector{kind: admin})
	}
	for _, name := range x.groups[n.User] {
		all = append(all, selector{kind: group, name: name})
	}
	return all
}

// markOf returns what the prefix makes of n for its rule.
func (u *netUse) markOf(n *Node) mark {
	part := isBehind
	if u.mark == isTarget {
		part = isTarget
	}
	for _, a := range n.Addrs {
		if u.prefix.Contains(a) {
			if u.prefix.IsSingleIP() {
				return u.mark
			}
			return part
		}
	}
	for _, r := range n.Routes {
		if r.Overlaps(u.prefix) && (!isExit(r) || u.mark == isTarget && u.public) {
			return part
		}
	}
	return 0
}
