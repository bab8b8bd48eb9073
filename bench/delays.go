package main

import (
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
)

// ways are the links over which delays are measured.
var ways = []link{{"direct", 1500, false}, {"relayed", 1500, true}}

// latency measures round trips of one byte on an open connection.
func latency(r *run) error {
	return r.overWays("latency", func(p *pair, in caseOf) error {
		times := r.often(2000)
		var took node.Delays
		s, err := r.during(p, in, func() error {
			return p.client.Call("pingpong", node.PingPong{Target: p.target, Times: times}, &took)
		})
		if err != nil {
			return err
		}
		nodes, _ := s.cpu()
		r.add(in, p, "round trip, p50", "µs", micros(took.P50))
		r.add(in, p, "round trip, p99", "µs", micros(took.P99))
		r.add(in, p, figureNodes, "µs each", nodes*1e6/float64(took.Times))
		return nil
	})
}

// dial measures new connections: how long one takes, and how many there are in a
// second when many are under way.
func dial(r *run) error {
	return r.overWays("dial", func(p *pair, in caseOf) error {
		const wide = 32
		serial, parallel := r.often(300), r.often(3000)
		var one, many node.Delays
		_, err := r.during(p, in, func() error {
			return p.client.Call("dials", node.Dials{Target: p.target, Times: serial, Wide: 1}, &one)
		})
		if err != nil {
			return err
		}
		s, err := r.during(p, in, func() error {
			return p.client.Call("dials", node.Dials{Target: p.target, Times: parallel, Wide: wide}, &many)
		})
		if err != nil {
			return err
		}
		nodes, _ := s.cpu()
		r.add(in, p, "Dial and 1 byte, p50", "µs", micros(one.P50))
		r.add(in, p, "Dial and 1 byte, p99", "µs", micros(one.P99))
		r.add(in, p, "new connections", "1/s", float64(many.Times)/many.All.Seconds())
		r.add(in, p, figureNodes, "µs each", nodes*1e6/float64(parallel))
		return nil
	})
}

func (r *run) overWays(suite string, measure func(*pair, caseOf) error) error {
	for _, k := range ways {
		in := caseOf{report.Case{Suite: suite, Name: k.name}, k.relayed}
		if !r.wanted(in.Name) {
			continue
		}
		if err := r.inLab(k, in, func(p *pair) error { return measure(p, in) }); err != nil {
			return err
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
