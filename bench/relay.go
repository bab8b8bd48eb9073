package main

import (
	"fmt"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/process"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// A relayAlone is a relay without coordinator and nodes, and clients that load
// it. The clients are meshnet's in any case.
type relayAlone struct{ relay, load *process.Process }

func (r *run) startRelay(l *lab.Lab, s software) (_ *relayAlone, err error) {
	a := new(relayAlone)
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	var mesh wire.Mesh
	if a.relay, err = r.startInfra(l, s.infra, wire.Infra{Addr: lab.ControlAddr, RelayOnly: true}, &mesh); err != nil {
		return nil, err
	}
	program, err := r.program("relayload")
	if err != nil {
		return nil, err
	}
	a.load, err = process.Start(r.ctx, "the relay's load", program, l.Client, wire.RelayLoad{Relay: mesh.Relay}, nil, process.Options{})
	return a, err
}

func (a *relayAlone) close() {
	for _, p := range []*process.Process{a.load, a.relay} {
		if p != nil {
			p.Close()
		}
	}
}

// relay measures relays over TLS: under floods of packets, and with clients that
// do nothing. Every round has new processes.
func relay(r *run) error {
	l, err := lab.Switch(1500)
	if err != nil {
		return err
	}
	defer l.Close()
	for _, pairs := range []int{1, 8} {
		in := caseOf{Case: report.Case{Suite: "relay", Name: fmt.Sprintf("flood of %d", pairs)}}
		if err := r.relayCase(l, in, func(s software, a *relayAlone) error { return r.flood(in, s, a, pairs) }); err != nil {
			return err
		}
	}
	in := caseOf{Case: report.Case{Suite: "relay", Name: "idle clients"}}
	return r.relayCase(l, in, func(s software, a *relayAlone) error { return r.idleClients(in, s, a) })
}

func (r *run) relayCase(l *lab.Lab, in caseOf, measure func(software, *relayAlone) error) error {
	if !r.wanted(in.Name) {
		return nil
	}
	r.say("  %s", in.Name)
	return r.rotate(in.Case, only(r.software, software.relays), func(s software) error {
		a, err := r.startRelay(l, s)
		if err != nil {
			return err
		}
		defer a.close()
		return measure(s, a)
	})
}

// floodMoment is where relay and clients stand.
type floodMoment struct {
	relay, load wire.Usage
	got         wire.Delivered
	counts      wire.Relayed
}

func (a *relayAlone) now() (m floodMoment, err error) {
	if m.relay, err = a.relay.Usage(); err != nil {
		return m, err
	}
	if m.load, err = a.load.Usage(); err != nil {
		return m, err
	}
	if err = a.relay.Call("relayed", nil, &m.counts); err != nil {
		return m, err
	}
	return m, a.load.Call("delivered", nil, &m.got)
}

// flood measures a relay while pairs of clients send as fast as they can.
func (r *run) flood(in caseOf, s software, a *relayAlone, pairs int) error {
	if err := a.load.Call("flood", wire.Flood{Pairs: pairs, Size: floodSize}, nil); err != nil {
		return err
	}
	r.wait(warmUp)
	stop, err := r.profileAll(in, s.name, map[string]*process.Process{"relay": a.relay, "load": a.load})
	if err != nil {
		return err
	}
	from, err := a.now()
	if err != nil {
		return err
	}
	r.wait(r.duration)
	to, err := a.now()
	if err != nil {
		return err
	}
	r.addFlood(in, s, from, to)
	return stop()
}

// floodSize is that of the packets, in bytes: what fits into an Ethernet frame
// with all that is around it.
const floodSize = 1400

// addFlood reports what has happened between two moments of a flood.
func (r *run) addFlood(in caseOf, s software, from, to floodMoment) {
	packets := float64(to.got.Packets - from.got.Packets)
	gigabytes := packets * floodSize / 1e9
	seconds := (to.got.At - from.got.At).Seconds()
	add := func(figure, unit string, value float64) { r.report.Add(in.Case, s.name, figure, unit, value) }
	add("packets", "1/s", packets/seconds)
	add(figureRate, "Gbit/s", gigabytes*8/seconds)
	add(figureRelay, "s/GB", (to.relay.CPU-from.relay.CPU)/gigabytes)
	add("CPU of the clients", "s/GB", (to.load.CPU-from.load.CPU)/gigabytes)
	add(figureDropped, "%", 100*dropped(from.counts, to.counts))
	add("RSS of the relay", "MiB", mib(to.relay.RSS))
}

// idleClients measures what memory clients take that do nothing.
func (r *run) idleClients(in caseOf, s software, a *relayAlone) error {
	clients := r.often(500)
	memory := func() (u wire.Usage, err error) {
		if err = a.relay.Call("collect", nil, nil); err != nil {
			return u, err
		}
		return a.relay.Usage()
	}
	if err := a.load.Call("join", 20, nil); err != nil { // the first ones fill pools
		return err
	}
	before, err := memory()
	if err != nil {
		return err
	}
	if err := a.load.Call("join", clients, nil); err != nil {
		return err
	}
	after, err := memory()
	if err != nil {
		return err
	}
	r.report.Add(in.Case, s.name, figureEach, "KiB", float64(after.RSS-before.RSS)/1024/float64(clients))
	r.report.Add(in.Case, s.name, "goroutines for each", "", float64(after.Goroutines-before.Goroutines)/float64(clients))
	return nil
}
