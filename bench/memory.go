package main

import (
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
)

// connections measures what memory idle connections take at the server, which
// has a goroutine with a buffer of one byte for each. What could be garbage is
// collected before.
func connections(r *run) error {
	in := caseOf{Case: report.Case{Suite: "connections", Name: "direct"}}
	return r.withNewPairs(in, func(p *pair) error {
		conns := r.often(2000)
		before, err := p.serverMemory()
		if err != nil {
			return err
		}
		if err := p.client.Call("hold", node.Hold{Target: p.target, Conns: conns}, nil); err != nil {
			return err
		}
		after, err := p.serverMemory()
		if err != nil {
			return err
		}
		r.add(in, p, figureEach, "KiB", float64(after.RSS-before.RSS)/1024/float64(conns))
		r.add(in, p, "goroutines for each", "", float64(after.Goroutines-before.Goroutines)/float64(conns))
		return nil
	})
}

func (p *pair) serverMemory() (s node.Sample, err error) {
	if err = p.server.Call("collect", nil, nil); err != nil {
		return s, err
	}
	return s, p.server.Call("sample", nil, &s)
}

// idle measures nodes that have joined, have found their path, and then do
// nothing.
func idle(r *run) error {
	const rest = 3 * time.Second
	in := caseOf{Case: report.Case{Suite: "idle", Name: "direct"}}
	return r.withNewPairs(in, func(p *pair) error {
		r.wait(rest)
		from, err := p.now()
		if err != nil {
			return err
		}
		r.wait(rest)
		to, err := p.now()
		if err != nil {
			return err
		}
		nodes, _ := stretch{from, to}.cpu()
		r.add(in, p, "RSS of a node", "MiB", mib(to.client.RSS))
		r.add(in, p, "goroutines of a node", "", float64(to.client.Goroutines))
		r.add(in, p, figureNodes, "ms/s", 1e3*nodes/(to.client.At-from.client.At).Seconds())
		return nil
	})
}

// withNewPairs has measure called with pairs that have done nothing yet, so that
// no memory is that of an earlier round.
func (r *run) withNewPairs(in caseOf, measure func(*pair) error) error {
	k := ways[0]
	r.say("  %s", in.Name)
	l, err := k.lab()
	if err != nil {
		return err
	}
	defer l.Close()
	return r.rotate(in.Case, k.compared(r), func(s software) error {
		p, err := r.startPair(l, s, false)
		if err != nil {
			return err
		}
		defer p.close()
		return measure(p)
	})
}
