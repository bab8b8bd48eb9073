package main

import (
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/report"
)

// warmUp is how long a bulk transfer goes on before it is measured.
const warmUp = time.Second

// A transfer is a kind of bulk transfer.
type transfer struct {
	streams int
	down    bool
}

func (t transfer) String() string {
	way := "up"
	if t.down {
		way = "down"
	}
	if t.streams == 1 {
		return "1 stream " + way
	}
	return fmt.Sprint(t.streams, " streams ", way)
}

var transfers = []transfer{{1, false}, {1, true}, {8, false}, {8, true}}

// A link is a kind of network between the hosts.
type link struct {
	name    string
	mtu     int
	relayed bool
}

var links = []link{
	{"direct, 1500 bytes", 1500, false},
	{"direct, 9001 bytes", 9001, false},
	{"relayed", 1500, true},
}

// lab builds the network.
func (k link) lab() (*lab.Lab, error) {
	l, err := lab.Switch(k.mtu)
	if err != nil || !k.relayed {
		return l, err
	}
	if err := l.ForbidUDP(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// compared are those who can talk over such a link.
func (k link) compared(r *run) []software {
	if k.relayed {
		return only(r.software, software.relays)
	}
	return r.software
}

// throughput measures bulk transfers, one after the other over the same pairs,
// and then what memory the nodes have got.
func throughput(r *run) error {
	for _, k := range links {
		for _, t := range transfers {
			in := caseOf{report.Case{Suite: "throughput", Name: k.name + ", " + t.String()}, k.relayed}
			if !r.wanted(in.Name) {
				continue
			}
			if err := r.inLab(k, in, func(p *pair) error { return r.transfer(p, in, t) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// inLab builds a network for the time of a comparison.
func (r *run) inLab(k link, in caseOf, measure func(*pair) error) error {
	r.say("  %s", in.Name)
	l, err := k.lab()
	if err != nil {
		return err
	}
	defer l.Close()
	return r.compare(l, in, k.compared(r), measure)
}

// bulk has a transfer go on for a while, and measures that.
func (r *run) bulk(p *pair, in caseOf, t transfer, d time.Duration) (s stretch, err error) {
	if err := p.client.Call("load", node.Load{Target: p.target, Streams: t.streams, Down: t.down}, nil); err != nil {
		return s, err
	}
	r.wait(warmUp)
	if s, err = r.during(p, in, func() error { r.wait(d); return nil }); err != nil {
		return s, err
	}
	return s, p.client.Call("unload", nil, nil)
}

// transfer measures one bulk transfer.
func (r *run) transfer(p *pair, in caseOf, t transfer) error {
	s, err := r.bulk(p, in, t, r.duration)
	if err != nil {
		return err
	}
	bytes, seconds := s.bulk(t.down)
	nodes, infra := s.cpu()
	r.add(in, p, figureRate, "Gbit/s", bytes*8/seconds/1e9)
	r.add(in, p, figureNodes, "s/GB", nodes/(bytes/1e9))
	if in.relayed {
		r.add(in, p, figureRelay, "s/GB", infra/(bytes/1e9))
		r.add(in, p, figureDropped, "%", 100*dropped(s.from.relay, s.to.relay))
	}
	r.add(in, p, figureObjects, "1/MB", s.objects()/(bytes/1e6))
	r.add(in, p, figureRSS, "MiB", mib(s.to.client.RSS+s.to.server.RSS))
	return nil
}

// wait lets time pass, or the run be stopped: whatever comes next fails then.
func (r *run) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.ctx.Done():
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
