package policy

import (
	"cmp"
	"slices"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Compiled is a policy applied to the nodes of a mesh. It is immutable and safe
// for concurrent use; what [Compiled.View] finds out is remembered and shared
// with the ones that Update made of it.
type Compiled struct {
	policy  *Policy
	classes *classes
	all     *set
	sets    []*set // by number; 0 is not used: all is that set. nil is empty
}

// Compile applies the policy to nodes. Of two with one ID, the later counts.
func (p *Policy) Compile(nodes []Node) *Compiled {
	empty := &Compiled{policy: p, classes: newClasses(p), all: new(set)}
	return empty.Update(nodes)
}

// Policy returns the policy that was applied.
func (c *Compiled) Policy() *Policy { return c.policy }

// Update returns c with nodes added, or put in place of those with their IDs,
// and others removed. It costs little when little changes. Where nothing that
// the policy looks at has changed, it returns c.
//
// Whom a change concerns: a node's own view, and those of the peers that saw
// it before or see it now. Nobody else's view is another.
func (c *Compiled) Update(nodes []Node, remove ...tailcfg.NodeID) *Compiled {
	fresh := c.differing(nodes)
	changed := make([]tailcfg.NodeID, 0, len(fresh)+len(remove))
	for _, n := range fresh {
		changed = append(changed, n.ID)
	}
	for _, id := range remove {
		if _, ok := find(c.all.nodes, id); ok {
			changed = append(changed, id)
		}
	}
	if len(changed) == 0 {
		return c
	}
	slices.Sort(changed)
	changed = slices.Compact(changed)
	return c.with(changed, fresh)
}

// differing returns those of nodes that the policy has not seen as they are,
// in the order of their IDs.
func (c *Compiled) differing(nodes []Node) []*node {
	fresh := make([]*node, 0, len(nodes))
	for _, n := range nodes {
		n = n.canonical()
		fresh = append(fresh, &node{Node: n})
	}
	slices.SortStableFunc(fresh, func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
	slices.Reverse(fresh) // the later of two counts: Compact keeps the first
	fresh = slices.CompactFunc(fresh, func(a, b *node) bool { return a.ID == b.ID })
	slices.Reverse(fresh)
	fresh = slices.DeleteFunc(fresh, func(n *node) bool {
		i, found := find(c.all.nodes, n.ID)
		return found && c.all.nodes[i].same(&n.Node)
	})
	for i, n := range fresh {
		fresh[i] = newNode(n.Node, c.classes.of(&n.Node))
	}
	return fresh
}

// with returns c with the changed nodes as in fresh; those that are not there
// are gone.
func (c *Compiled) with(changed []tailcfg.NodeID, fresh []*node) *Compiled {
	added := make(map[int][]*node) // by set; nil where nodes only leave
	for _, id := range changed {
		if i, found := find(c.all.nodes, id); found {
			for _, set := range c.all.nodes[i].class.member {
				added[set] = nil
			}
		}
	}
	for _, n := range fresh {
		for _, set := range n.class.member {
			added[set] = append(added[set], n)
		}
	}
	next := &Compiled{policy: c.policy, classes: c.classes, all: c.all.merge(changed, fresh), sets: slices.Clone(c.sets)}
	for number, nodes := range added {
		if number >= len(next.sets) {
			next.sets = append(next.sets, make([]*set, number+1-len(next.sets))...)
		}
		next.sets[number] = next.sets[number].merge(changed, nodes)
	}
	return next
}

// set returns the set with a number.
func (c *Compiled) set(number int) *set {
	switch {
	case number == everySet:
		return c.all
	case number < len(c.sets) && c.sets[number] != nil:
		return c.sets[number]
	default:
		return c.classes.none
	}
}
