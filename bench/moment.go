package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/process"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// caseOf is a case of a suite, in which packets take the same path always.
type caseOf struct {
	report.Case
	relayed bool
}

// A moment is where all processes of a pair stand.
type moment struct {
	client, server node.Sample
	infra          wire.Usage // coordinator and relay
	relay          wire.Relayed
}

func (p *pair) now() (m moment, err error) {
	if err = p.client.Call("sample", nil, &m.client); err != nil {
		return m, err
	}
	if p.infra != nil {
		if m.infra, err = p.infra.Usage(); err != nil {
			return m, err
		}
		if err = p.infra.Call("relayed", nil, &m.relay); err != nil {
			return m, err
		}
	}
	return m, p.server.Call("sample", nil, &m.server)
}

// A stretch is what has happened between two moments.
type stretch struct{ from, to moment }

// cpu is the processor time of client and server, and of the infrastructure, in
// seconds.
func (s stretch) cpu() (nodes, infra float64) {
	nodes = s.to.client.CPU - s.from.client.CPU + s.to.server.CPU - s.from.server.CPU
	return nodes, s.to.infra.CPU - s.from.infra.CPU
}

// objects is how many client and server have allocated.
func (s stretch) objects() float64 {
	return float64(s.to.client.Objects - s.from.client.Objects + s.to.server.Objects - s.from.server.Objects)
}

// bulk returns how many bytes the receiver has got, and in how many seconds by
// its own clock.
func (s stretch) bulk(down bool) (bytes, seconds float64) {
	from, to := s.from.server, s.to.server
	if down {
		from, to = s.from.client, s.to.client
	}
	return float64(to.Received - from.Received), (to.At - from.At).Seconds()
}

// dropped is the part of packets that a relay has lost between two moments.
func dropped(from, to wire.Relayed) float64 {
	if to.In == from.In {
		return 0
	}
	return float64(to.Dropped-from.Dropped) / float64(to.In-from.In)
}

// path is how packets went, by the counters of both nodes: "direct", "relayed",
// or "mixed" where less than 99 % went one way.
func (s stretch) path() string {
	direct := s.to.client.Traffic.Direct - s.from.client.Traffic.Direct + s.to.server.Traffic.Direct - s.from.server.Traffic.Direct
	relayed := s.to.client.Traffic.Relayed - s.from.client.Traffic.Relayed + s.to.server.Traffic.Relayed - s.from.server.Traffic.Relayed
	switch all := float64(direct + relayed); {
	case all == 0:
		return "none"
	case float64(direct) >= 0.99*all:
		return "direct"
	case float64(relayed) >= 0.99*all:
		return "relayed"
	}
	return "mixed"
}

// during measures what happens while something is done. It is an error when
// packets do not go where they should.
func (r *run) during(p *pair, in caseOf, do func() error) (s stretch, err error) {
	stop, err := r.profile(p, in)
	if err != nil {
		return s, err
	}
	if s.from, err = p.now(); err != nil {
		return s, err
	}
	if err = do(); err != nil {
		return s, err
	}
	if s.to, err = p.now(); err != nil {
		return s, err
	}
	if err = stop(); err != nil {
		return s, err
	}
	want := "direct"
	if in.relayed {
		want = "relayed"
	}
	got := s.path()
	r.report.Path(in.Case, p.name, got)
	if got != want {
		return s, fmt.Errorf("the path is %s, not %s", got, want)
	}
	return s, nil
}

// profile begins CPU profiles of a pair's processes, if they are wanted.
func (r *run) profile(p *pair, in caseOf) (stop func() error, err error) {
	return r.profileAll(in, p.name, map[string]*process.Process{"client": p.client, "server": p.server, "infra": p.infra})
}

// profileAll begins CPU profiles of processes, each of which has a role.
func (r *run) profileAll(in caseOf, software string, all map[string]*process.Process) (stop func() error, err error) {
	if r.profiles == "" {
		return func() error { return nil }, nil
	}
	set := func(file func(role string) string) error {
		for role, process := range all {
			if process == nil {
				continue
			}
			if err := process.Call("profile", wire.Profile{File: file(role)}, nil); err != nil {
				return err
			}
		}
		return nil
	}
	stop = func() error { return set(func(string) string { return "" }) }
	return stop, set(func(role string) string { return r.profileOf(in, software, role) })
}

// profileOf names the file for a profile; it is empty when none are wanted.
func (r *run) profileOf(in caseOf, software, role string) string {
	if r.profiles == "" {
		return ""
	}
	name := strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(in.Suite + "-" + in.Name + "-" + software)
	return filepath.Join(r.profiles, name+"-"+role+".pprof")
}

// add reports a figure.
func (r *run) add(in caseOf, p *pair, figure, unit string, value float64) {
	r.report.Add(in.Case, p.name, figure, unit, value)
}
