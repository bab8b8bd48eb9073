package main

import (
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/report"
	"github.com/meshnet-go/meshnet/bench/internal/router"
)

// A path is a way across a wide area.
type path struct {
	name string
	router.Link
	transfer
}

// roundTrip is that of all paths.
const roundTrip = 60 * time.Millisecond

// newPath makes one whose queue holds what is under way in a round trip.
func newPath(name string, megabits float64, change func(*router.Link)) path {
	rate := megabits * 1e6
	l := router.Link{Delay: roundTrip / 2, Rate: rate, Queue: int(rate / 8 * roundTrip.Seconds())}
	if change != nil {
		change(&l)
	}
	return path{name: name, Link: l, transfer: transfer{streams: 1}}
}

func wideAreaPaths() []path {
	loss := func(part float64) func(*router.Link) { return func(l *router.Link) { l.Loss = part } }
	late := func(l *router.Link) {
		l.Reorder, l.LateFrom, l.LateTo = 0.005, time.Millisecond, 5*time.Millisecond
	}
	return []path{
		newPath("100 Mbit/s", 100, nil),
		newPath("200 Mbit/s", 200, nil),
		newPath("1 Gbit/s", 1000, nil),
		newPath("200 Mbit/s, "+reordered, 200, late),
		newPath("200 Mbit/s, 0.01 % lost", 200, loss(0.0001)),
		newPath("200 Mbit/s, 0.1 % lost", 200, loss(0.001)),
		newPath("200 Mbit/s, 1 % lost", 200, loss(0.01)),
	}
}

// wideAreaTime is how long a transfer is measured, in addition to warming up:
// long enough for a sender to find the rate of the path, and lose it again.
const wideAreaTime = 10 * time.Second

// wideArea measures uploads across paths of 60 ms.
func wideArea(r *run) error {
	for _, path := range wideAreaPaths() {
		in := caseOf{Case: report.Case{Suite: "widearea", Name: "60 ms, " + path.name}}
		if !r.wanted(in.Name) {
			continue
		}
		if err := r.acrossPath(path, in); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) acrossPath(path path, in caseOf) error {
	r.say("  %s", in.Name)
	l, err := r.routed(router.Way{A: lab.ClientAddr, B: lab.ServerAddr, Link: path.Link})
	if err != nil {
		return err
	}
	defer l.Close()
	return r.compare(l.Lab, in, r.software, func(p *pair) error {
		s, err := r.bulk(p, in, path.transfer, wideAreaTime)
		if err != nil {
			return err
		}
		bytes, seconds := s.bulk(false)
		nodes, _ := s.cpu()
		r.add(in, p, figureRate, "Mbit/s", bytes*8/seconds/1e6)
		r.add(in, p, figureNodes, "s/GB", nodes/(bytes/1e9))
		return nil
	})
}
