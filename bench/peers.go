package main

import (
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// manyPeers measures nodes that join a large mesh, whose other members they
// never talk to. Tailscale's test coordinator tells all of them the same map: it
// takes members that have never joined.
func manyPeers(r *run) error {
	l, err := lab.Switch(1500)
	if err != nil {
		return err
	}
	defer l.Close()
	for _, peers := range []int{1000, 10000} {
		in := caseOf{Case: report.Case{Suite: "peers", Name: fmt.Sprint(peers, " peers")}}
		if !r.wanted(in.Name) {
			continue
		}
		if err := r.inMesh(l, in, peers); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) inMesh(l *lab.Lab, in caseOf, peers int) error {
	r.say("  %s", in.Name)
	p := &pair{lab: l}
	var err error
	p.infra, err = r.startInfra(l, "tailscale", wire.Infra{Addr: lab.ControlAddr, Peers: peers}, &p.mesh)
	if err != nil {
		return err
	}
	defer p.infra.Close()
	return r.rotate(in.Case, only(r.software, software.relays), func(s software) error {
		one := *p
		one.software = s
		return r.joinMesh(&one, in)
	})
}

func (r *run) joinMesh(p *pair, in caseOf) error {
	const rest = 3 * time.Second
	var ready node.Ready
	config := r.clientConfig(p)
	config.Profile = r.profileOf(in, p.name, "client")
	client, err := r.startNode(p, config, &ready)
	if err != nil {
		return err
	}
	defer client.Close()
	r.wait(rest)
	use, err := client.Usage()
	if err != nil {
		return err
	}
	r.add(in, p, figureUp, "ms", millis(ready.Up-client.Started))
	r.add(in, p, "RSS", "MiB", mib(use.RSS))
	r.add(in, p, "RSS, at most", "MiB", mib(use.PeakRSS))
	r.add(in, p, "goroutines", "", float64(use.Goroutines))
	r.add(in, p, "CPU", "ms", 1e3*use.CPU)
	return nil
}
