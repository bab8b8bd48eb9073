package main

import (
	"syscall"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// restart measures the starts of nodes that were members before, and have kept
// what they know: with the coordinator 20 ms away, and with one that does not
// answer.
func restart(r *run) error {
	for _, c := range []struct {
		name   string
		silent bool
	}{{"second start, control and relay 20 ms away", false}, {"second start, the coordinator is silent", true}} {
		in := caseOf{Case: report.Case{Suite: "restart", Name: c.name}}
		if !r.wanted(in.Name) {
			continue
		}
		r.say("  %s", in.Name)
		l, err := r.routed(farControl()...)
		if err != nil {
			return err
		}
		err = r.rotate(in.Case, only(r.software, software.relays), func(s software) error {
			return r.startTwice(l.Lab, in, s, c.silent)
		})
		l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// startTwice has a client join, and start again.
func (r *run) startTwice(l *lab.Lab, in caseOf, s software, silent bool) error {
	p := &pair{software: s, lab: l}
	defer p.close()
	if err := r.startSplitInfra(p); err != nil {
		return err
	}
	if err := r.addServer(p); err != nil {
		return err
	}
	config := r.clientConfig(p)
	config.Keep, config.Target = true, p.target
	var ready node.Ready
	first, err := r.startNode(p, config, &ready)
	if err != nil {
		return err
	}
	first.Close()
	if silent {
		if err := p.infra.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		defer p.infra.Signal(syscall.SIGCONT)
	}
	config.Limit = 10 * time.Second
	return r.startOnce(p, in, config)
}

// startSplitInfra starts coordinator and relay in a process each, so that one
// can fall silent.
func (r *run) startSplitInfra(p *pair) (err error) {
	var mesh wire.Mesh
	config := wire.Infra{Addr: lab.ControlAddr, RelayOnly: true}
	if p.relay, err = r.startInfra(p.lab, p.software.infra, config, &mesh); err != nil {
		return err
	}
	config = wire.Infra{Addr: lab.ControlAddr, Relay: mesh.Relay}
	p.infra, err = r.startInfra(p.lab, p.software.infra, config, &p.mesh)
	return err
}
