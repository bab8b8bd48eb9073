package policy

import (
	"errors"
	"fmt"
	"slices"
)

// test is what an entry of "tests" says of one source and one destination.
type test struct {
	at     int // of the destination in the file
	from   string
	src    selector
	to     target
	text   string // of the destination
	protos []int
	accept bool
}

// maxComparisons bounds the work that the tests of a file make.
const maxComparisons = 20_000_000

// readTests reads the tests; they run when all else is right.
func (d *decoder) readTests(v value) {
	for _, e := range d.list(v, `"tests"`) {
		if d.full() {
			return
		}
		at := d.fields(e, "a test", "src", "proto", "accept", "deny")
		t := test{}
		src, ok := at["src"], false
		switch {
		case src.kind == 0 && e.kind == '{':
			d.add(e.at, `the test has no "src"`)
		case src.kind != 0 && d.isText(src, "the source of a test"):
			var err error
			if t.src, err = d.p.parseSelector(src.text, tested); err != nil {
				d.add(src.at, "%v", err)
			}
			t.from, ok = src.text, err == nil
		}
		protos, known := d.proto(at["proto"])
		if t.protos = protos; protos == nil {
			t.protos = []int{protoTCP, protoUDP}
		}
		if e.kind == '{' && at["accept"].kind == 0 && at["deny"].kind == 0 {
			d.add(e.at, `the test says nothing: it has neither "accept" nor "deny"`)
		}
		for _, accept := range []bool{true, false} {
			t.accept = accept
			d.expectations(at, t, ok && known)
		}
	}
}

// expectations reads the destinations of a test; those of a test that is good
// are to run.
func (d *decoder) expectations(at map[string]value, t test, good bool) {
	key := map[bool]string{true: "accept", false: "deny"}[t.accept]
	for _, dest := range d.texts(at[key], fmt.Sprintf("%q", key)) {
		var err error
		if t.to, err = d.p.parseTarget(dest.text, testedAt); err == nil {
			err = checkTestPort(t)
		}
		if err != nil {
			d.add(dest.at, "%v", err)
			continue
		}
		if t.at, t.text = dest.at, dest.text; good {
			d.tests = append(d.tests, t)
		}
	}
}

// checkTestPort wants one port, or all for protocols without.
func checkTestPort(t test) error {
	r := t.to.ports[0]
	if !slices.ContainsFunc(t.protos, hasPorts) && r == allPorts {
		return nil
	}
	if len(t.to.ports) > 1 || r.First != r.Last {
		return errors.New("a test is about one port")
	}
	return nil
}

// runTests complains of the tests that fail.
func (d *decoder) runTests() {
	selectors := 1
	for _, r := range d.p.rules {
		selectors += len(r.src) + len(r.dst)*max(1, len(r.allow))
	}
	budget := maxComparisons
	for _, t := range d.tests {
		froms, tos := d.p.parties(t.src), d.p.parties(t.to.selector)
		if budget -= len(froms) + len(tos) + len(froms)*len(tos)*selectors; budget < 0 {
			d.add(t.at, "the tests of this file compare more than %d times", maxComparisons)
		}
		if budget < 0 || d.full() {
			return
		}
		for _, from := range froms {
			for _, to := range tos {
				d.run(t, from, to)
			}
		}
	}
}

// run complains if the test's expectation is not met.
func (d *decoder) run(t test, from, to party) {
	if t.to.kind == self {
		to.node = from.node
	}
	answer := d.p.answer(t, from, to)
	if answer.Allowed == t.accept {
		return
	}
	wanted := "the test wants it denied"
	if t.accept {
		wanted = "the test wants it accepted"
	}
	d.add(t.at, "%s to %s is %v; %s", t.from, t.text, answer, wanted)
}

// answer is that for the first of the test's protocols that is allowed, or
// else for the first.
func (p *Policy) answer(t test, from, to party) (first Answer) {
	for i, proto := range t.protos {
		a := p.judge(from, to, uint8(proto), t.to.ports[0].First)
		if a.Allowed {
			return a
		}
		if i == 0 {
			first = a
		}
	}
	return first
}

// parties returns whom a selector of a test stands for. There are no nodes to
// look at, so a user stands for any node of theirs.
func (p *Policy) parties(s selector) []party {
	switch s.kind {
	case addresses:
		return []party{{at: s.prefix, exit: true}}
	case internet:
		return []party{{exit: true}}
	case tag:
		return []party{{node: &Node{Tags: []string{s.name}}}}
	case group:
		var all []party
		for _, name := range sortedKeys(p.groups[s.name]) {
			all = append(all, party{node: &Node{User: name}})
		}
		return all
	default: // user; or member and self: a user of no name
		return []party{{node: &Node{User: s.name}}}
	}
}
