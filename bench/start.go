package main

import (
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/router"
)

// start measures how long a program takes from its start until its node is up,
// and until it has got one byte of another node, which is there already.
func start(r *run) error {
	near := caseOf{Case: report.Case{Suite: "start", Name: caseNear}}
	if r.wanted(near.Name) {
		l, err := lab.Switch(1500)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := r.starts(l, near); err != nil {
			return err
		}
	}
	far := caseOf{Case: report.Case{Suite: "start", Name: caseFar}}
	if r.wanted(far.Name) {
		l, err := r.routed(farControl()...)
		if err != nil {
			return err
		}
		defer l.Close()
		return r.starts(l.Lab, far)
	}
	return nil
}

// farControl are ways with a round trip of 20 ms to coordinator and relay.
func farControl() (ways []router.Way) {
	for _, host := range []netip.Addr{lab.ClientAddr, lab.ServerAddr} {
		ways = append(ways, router.Way{A: host, B: lab.ControlAddr, Link: router.Link{Delay: 10 * time.Millisecond}})
	}
	return ways
}

// starts measures the first starts of clients; the server stays.
func (r *run) starts(l *lab.Lab, in caseOf) error {
	r.say("  %s", in.Name)
	servers := make(pairs)
	defer func() { servers.close() }()
	return r.rotate(in.Case, r.software, func(s software) (err error) {
		p := servers[s.name]
		if p == nil {
			if p, err = r.startServer(l, s); err != nil {
				return err
			}
			servers[s.name] = p
		}
		config := r.clientConfig(p)
		config.Target = p.target
		return r.startOnce(p, in, config)
	})
}

func (r *run) startOnce(p *pair, in caseOf, config node.Config) error {
	config.Profile = r.profileOf(in, p.name, "client")
	var ready node.Ready
	client, err := r.startNode(p, config, &ready)
	if err != nil {
		return err
	}
	defer client.Close()
	use, err := client.Usage()
	if err != nil {
		return err
	}
	r.add(in, p, figureUp, "ms", millis(ready.Up-client.Started))
	r.add(in, p, figureFirst, "ms", millis(ready.First-client.Started))
	r.add(in, p, "CPU of the client", "ms", 1e3*use.CPU)
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
