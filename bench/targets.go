package main

import "github.com/meshnet-go/meshnet/bench/internal/report"

// targets are what meshnet is to reach.
func targets() []report.Target {
	var all []report.Target
	tsnet := func(suite, name, figure string, atLeast, atMost float64) {
		all = append(all, report.Target{Case: report.Case{Suite: suite, Name: name}, Figure: figure, Against: "tsnet", AtLeast: atLeast, AtMost: atMost})
	}
	kernel := func(suite, name, figure string, atLeast float64) {
		all = append(all, report.Target{Case: report.Case{Suite: suite, Name: name}, Figure: figure, Against: "kernel", AtLeast: atLeast})
	}
	limit := func(suite, name, figure string, most float64) {
		all = append(all, report.Target{Case: report.Case{Suite: suite, Name: name}, Figure: figure, AtMost: most})
	}
	for _, t := range transfers {
		small, large, relayed := links[0].name+", "+t.String(), links[1].name+", "+t.String(), links[2].name+", "+t.String()
		tsnet("throughput", small, figureRate, 2.5, 0)
		tsnet("throughput", small, figureNodes, 0, 0.4)
		tsnet("throughput", large, figureRate, 4, 0)
		limit("throughput", small, figureRSS, 100)
		limit("throughput", large, figureRSS, 100)
		tsnet("throughput", relayed, figureNodes, 0, 0.25)
		tsnet("throughput", relayed, figureRelay, 0, 0.25)
		if t.streams == 1 {
			tsnet("throughput", relayed, figureRate, 5, 0)
			limit("throughput", relayed, figureDropped, 0)
		}
	}
	for _, way := range ways {
		tsnet("latency", way.name, "round trip, p50", 0, 0.6)
	}
	tsnet("dial", "direct", "Dial and 1 byte, p50", 0, 0.5)
	tsnet("dial", "direct", "new connections", 2, 0)
	tsnet("connections", "direct", figureEach, 0, 0.7)
	tsnet("start", caseNear, figureFirst, 0, 0.4)
	tsnet("start", caseFar, figureFirst, 0, 0.4)
	tsnet("idle", "direct", "RSS of a node", 0, 0.45)
	tsnet("peers", "10000 peers", "RSS", 0, 0.25)
	tsnet("peers", "10000 peers", figureUp, 0, 0.25)
	limit("size", "hello", "stripped", 10.5)
	limit("size", "hello", "modules linked", 11)
	limit("size", "hello", "packages outside std", 120)
	tsnet("size", "hello, built from nothing", "processor time", 0, 0.5)
	tsnet("widearea", "60 ms, 200 Mbit/s", figureRate, 1.6, 0)
	kernel("widearea", "60 ms, 200 Mbit/s", figureRate, 0.9)
	tsnet("widearea", "60 ms, 200 Mbit/s, "+reordered, figureRate, 20, 0)
	kernel("widearea", "60 ms, 200 Mbit/s, "+reordered, figureRate, 0.8)
	tsnet("widearea", "60 ms, 200 Mbit/s, 0.01 % lost", figureRate, 1.3, 0)
	tsnet("widearea", "60 ms, 200 Mbit/s, 0.1 % lost", figureRate, 1.3, 0)
	tsnet("relay", "flood of 1", "packets", 2, 0)
	tsnet("relay", "flood of 1", figureRelay, 0, 0.4)
	all = append(all, report.Target{
		Case: report.Case{Suite: "relay", Name: "flood of 8"}, Figure: figureRate,
		Against: "meshnet", Than: report.Case{Suite: "relay", Name: "flood of 1"}, AtLeast: 0.9,
	})
	tsnet("relay", "idle clients", figureEach, 0, 0.5)
	return all
}

// The names of figures and cases that have targets.
const (
	figureRate    = "rate"
	figureNodes   = "CPU of both nodes"
	figureRelay   = "CPU of the relay"
	figureDropped = "dropped by the relay"
	figureObjects = "allocations of both nodes"
	figureRSS     = "RSS of both nodes"
	figureEach    = "memory for each"
	figureUp      = "exec to Up"
	figureFirst   = "exec to first byte"

	caseNear  = "all near"
	caseFar   = "control and relay 20 ms away"
	reordered = "0.5 % reordered by 1–5 ms"
)
