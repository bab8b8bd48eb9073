package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/process"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// A pair is a client and a server that run the same software, and its
// infrastructure, if it has one: a process each.
type pair struct {
	software
	lab                   *lab.Lab
	infra, client, server *process.Process
	relay                 *process.Process // where it is not in infra
	mesh                  json.RawMessage  // where the infrastructure is
	target                netip.Addr       // the server's address in the network
}

// startPair starts a pair, and waits until it has the path that is wanted.
func (r *run) startPair(l *lab.Lab, s software, relayed bool) (_ *pair, err error) {
	p, err := r.startServer(l, s)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var ready node.Ready
	if p.client, err = r.startNode(p, r.clientConfig(p), &ready); err != nil {
		return nil, err
	}
	return p, p.client.Call("reach", node.Reach{Target: p.target, Relayed: relayed, Limit: 30 * time.Second}, nil)
}

// startServer starts a pair that has no client yet.
func (r *run) startServer(l *lab.Lab, s software) (_ *pair, err error) {
	p := &pair{software: s, lab: l}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if s.infra != "" {
		if p.infra, err = r.startInfra(l, s.infra, wire.Infra{Addr: lab.ControlAddr}, &p.mesh); err != nil {
			return nil, err
		}
	}
	return p, r.addServer(p)
}

func (r *run) addServer(p *pair) (err error) {
	var ready node.Ready
	p.server, err = r.startNode(p, r.serverConfig(p), &ready)
	p.target = ready.Addr
	return err
}

func (r *run) startInfra(l *lab.Lab, name string, config wire.Infra, ready any) (*process.Process, error) {
	program, err := r.program("infra/" + name)
	if err != nil {
		return nil, err
	}
	return process.Start(r.ctx, name+"'s infrastructure", program, l.Control, config, ready, process.Options{})
}

// startNode starts a node of a pair.
func (r *run) startNode(p *pair, config node.Config, ready *node.Ready) (*process.Process, error) {
	program, err := r.program("peers/" + p.name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	host := p.lab.Client
	if config.Serve {
		host = p.lab.Server
	}
	return process.Start(r.ctx, p.name+"'s "+config.Hostname, program, host, config, ready, process.Options{})
}

func (r *run) clientConfig(p *pair) node.Config {
	return node.Config{
		Hostname: "client", Addr: lab.ClientAddr, Other: lab.ServerAddr, MTU: p.lab.MTU, Mesh: p.mesh, Dir: r.newDir(),
	}
}

func (r *run) serverConfig(p *pair) node.Config {
	return node.Config{
		Hostname: "server", Addr: lab.ServerAddr, Other: lab.ClientAddr, MTU: p.lab.MTU, Mesh: p.mesh, Dir: r.newDir(), Serve: true,
	}
}

// newDir names a directory that nobody else has.
func (r *run) newDir() string {
	r.nodes++
	return filepath.Join(r.dir, fmt.Sprint("node-", r.nodes))
}

// close ends the processes.
func (p *pair) close() {
	for _, process := range []*process.Process{p.client, p.server, p.infra, p.relay} {
		if process != nil {
			process.Close()
		}
	}
}

// pairs are one of each software, up and idle.
type pairs map[string]*pair

func (p pairs) close() {
	for _, pair := range p {
		pair.close()
	}
}

// compare has measure called for a pair of each software in rotating order. The
// pairs live in the same lab until the end: all are idle but the one that is
// measured.
func (r *run) compare(l *lab.Lab, in caseOf, compared []software, measure func(*pair) error) error {
	all := make(pairs)
	defer func() { all.close() }()
	return r.rotate(in.Case, compared, func(s software) (err error) {
		p := all[s.name]
		if p == nil {
			if p, err = r.startPair(l, s, in.relayed); err != nil {
				return err
			}
			all[s.name] = p
		}
		if err := measure(p); err != nil {
			p.close() // it may still be at work
			delete(all, s.name)
			return err
		}
		return nil
	})
}
