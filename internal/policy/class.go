package policy

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// class is the nodes that no rule tells apart: they see the same peers.
type class struct {
	member  []int // the sets that its nodes are in
	sees    []int // the sets that its nodes see
	targets []int // the rules that have its nodes as destinations
	selfs   []int // the rules that let a user's nodes reach each other
	selfSet int   // the set of the user's nodes, or 0

	latest atomic.Pointer[peers]
}

// classes are all that were seen of one policy. The many [Compiled] of it
// share them.
type classes struct {
	policy *Policy
	none   *set // the one of no nodes

	mu     sync.Mutex
	byMark map[string]*class
	selfs  map[string]int // the set of a user's own nodes
}

func newClasses(p *Policy) *classes {
	return &classes{policy: p, none: new(set), byMark: make(map[string]*class), selfs: make(map[string]int)}
}

// of returns the class of a canonical node.
func (cs *classes) of(n *Node) *class {
	marks := cs.policy.index.marks(n)
	name := make([]byte, 0, len(marks)+len(n.User))
	hasSelf := false
	for _, m := range marks {
		name = append(name, byte(m))
		hasSelf = hasSelf || m&isSelf != 0
	}
	if hasSelf {
		name = append(name, n.User...)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byMark[string(name)]; c != nil {
		return c
	}
	c := cs.policy.index.newClass(marks)
	if hasSelf {
		c.selfSet = cs.selfSet(n.User)
		c.member, c.sees = append(c.member, c.selfSet), append(c.sees, c.selfSet)
	}
	cs.byMark[string(name)] = c
	return c
}

func (cs *classes) selfSet(user string) int {
	set, ok := cs.selfs[user]
	if !ok {
		set = cs.policy.index.numSets() + len(cs.selfs)
		cs.selfs[user] = set
	}
	return set
}

func (x *index) newClass(marks []mark) *class {
	c := new(class)
	for i, m := range marks {
		sets := &x.rules[i]
		if m&(isSource|isBehind) != 0 {
			c.sees = append(c.sees, sets.targets)
		}
		if m&isSource != 0 {
			c.member = append(c.member, sets.sources)
		}
		if m&isBehind != 0 {
			c.member = append(c.member, sets.behind)
		}
		if m&isTarget != 0 {
			c.member = append(c.member, sets.targets)
			c.sees = append(c.sees, sets.sources, sets.behind)
			c.targets = append(c.targets, i)
		}
		if m&isSelf != 0 {
			c.selfs = append(c.selfs, i)
		}
	}
	slices.Sort(c.member)
	c.member = slices.DeleteFunc(slices.Compact(c.member), func(set int) bool { return set == everySet })
	slices.Sort(c.sees)
	if c.sees = slices.Compact(c.sees); len(c.sees) > 0 && c.sees[0] == everySet {
		c.sees = c.sees[:1]
	}
	return c
}

// peers is a set of nodes, shared by all that see the same.
type peers struct {
	sets []*set // of which it was made
	ids  []tailcfg.NodeID
}

// peers returns whom the nodes of a class see, and among them maybe
// themselves.
func (c *Compiled) peersOf(cl *class) *peers {
	latest := cl.latest.Load()
	if latest != nil && c.isOf(latest.sets, cl.sees) {
		return latest
	}
	p := &peers{sets: c.pick(cl.sees)}
	p.ids = union(p.sets)
	if latest != nil && slices.Equal(latest.ids, p.ids) {
		p.ids = latest.ids // so that streams see that nothing changed
	}
	cl.latest.Store(p)
	return p
}

// pick returns the sets with these numbers.
func (c *Compiled) pick(numbers []int) []*set {
	picked := make([]*set, len(numbers))
	for i, n := range numbers {
		picked[i] = c.set(n)
	}
	return picked
}

// isOf reports whether sets are the ones with these numbers, still.
func (c *Compiled) isOf(sets []*set, numbers []int) bool {
	for i, n := range numbers {
		if sets[i] != c.set(n) {
			return false
		}
	}
	return true
}
