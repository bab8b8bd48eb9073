package interop

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// expectedPaths is how two tsnet nodes end up on two sites of the NAT
// laboratory. It is checked against two tsnet nodes in every run.
//
// An easy NAT and a firewall let in only what comes from the port to which the
// host has sent, and nobody can tell that of a hard NAT.
const expectedPaths = `
	          open    easy     hard     firewall  ipv6     no-udp
	open      direct  direct   direct   direct    direct   relayed
	easy      direct  direct   relayed  direct    relayed  relayed
	hard      direct  relayed  relayed  relayed   relayed  relayed
	firewall  direct  direct   relayed  direct    direct   relayed
	ipv6      direct  relayed  relayed  direct    direct   relayed
	no-udp    relayed relayed  relayed  relayed   relayed  relayed`

// expectDirect looks two kinds of site up in expectedPaths.
func expectDirect(from, to string) bool {
	lines := strings.Split(strings.TrimSpace(expectedPaths), "\n")
	column := slices.Index(strings.Fields(lines[0]), to)
	for _, line := range lines[1:] {
		if row := strings.Fields(line); row[0] == from {
			return row[1+column] == "direct"
		}
	}
	panic("no such kind of site: " + from)
}

// labPair says which software calls which, from where to where.
type labPair struct {
	caller, callee string // "meshnet" or "tsnet"
	from, to       string // the kinds of their sites
}

func (p labPair) String() string {
	return fmt.Sprintf("%s (%s) calls %s (%s)", p.caller, p.from, p.callee, p.to)
}

// seats returns the nodes that meet. Those that probe ports meet nobody else,
// because a node probes the ports of one peer after another.
func (p labPair) seats() (caller, callee seat) {
	caller, callee = seat{software: p.caller, kind: p.from}, seat{software: p.callee, kind: p.to}
	if p.probesPorts() {
		caller.only, callee.only = p.to, p.from
	}
	return caller, callee
}

// seat is a node's in a round, on one of the two sites of a kind.
type seat struct {
	software, kind string
	only           string // the kind of site of the only node that it meets, if it meets but one
}

func (p labPair) expectDirect() bool { return expectDirect(p.from, p.to) }

// probesPorts reports whether the pair should find a direct path by probing
// ports, where two tsnet nodes stay on the relay: two meshnet nodes do, one of
// them behind a hard NAT, and the other where it can be reached from outside
// once it has sent to the right port.
func (p labPair) probesPorts() bool {
	if p.caller != "meshnet" || p.callee != "meshnet" {
		return false
	}
	return p.from == "hard" && slices.Contains(probed, p.to) || p.to == "hard" && slices.Contains(probed, p.from)
}

var probed = []string{"easy", "firewall"}

// labTable collects how calls went.
type labTable struct {
	mu    sync.Mutex
	calls map[labPair]int
	times map[labPair][]time.Duration // of those that went direct
}

func (l *labTable) add(p labPair, direct bool, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls, l.times = make(map[labPair]int), make(map[labPair][]time.Duration)
	}
	l.calls[p]++
	if direct {
		l.times[p] = append(l.times[p], after)
	}
}

// verdict returns what is wrong with how a pair's calls went.
func (l *labTable) verdict(p labPair) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, direct := l.calls[p], len(l.times[p])
	want := 0
	switch {
	case p.expectDirect():
		want = calls
	case p.probesPorts():
		want = min(calls-1, (9*calls+9)/10) // that is luck
		if direct >= want {
			return nil
		}
	}
	if direct != want {
		return fmt.Errorf("%s: %d of %d calls went direct, and %d should", p, direct, calls, want)
	}
	return nil
}

// cell is what the printed table says of a pair: median and maximum of the time
// from the call to the direct path.
func (l *labTable) cell(p labPair) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := slices.Sorted(slices.Values(l.times[p]))
	if len(times) == 0 {
		return "relayed"
	}
	s := fmt.Sprintf("%s, %s", milliseconds(times[len(times)/2]), milliseconds(times[len(times)-1]))
	if len(times) < l.calls[p] {
		s += fmt.Sprintf(" (%d of %d)", len(times), l.calls[p])
	}
	return s
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// print writes the table, a line for every two kinds of site.
func (l *labTable) print(w io.Writer, kinds []string) {
	fmt.Fprintln(w, "The NAT laboratory: relayed, or median and maximum of the time from the first packet to a direct path.")
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer columns.Flush()
	fmt.Fprint(columns, "FROM\tTO")
	for _, s := range softwarePairs {
		fmt.Fprintf(columns, "\t%s to %s", s[0], s[1])
	}
	fmt.Fprintln(columns)
	for _, from := range kinds {
		for _, to := range kinds {
			fmt.Fprintf(columns, "%s\t%s", from, to)
			for _, s := range softwarePairs {
				fmt.Fprintf(columns, "\t%s", l.cell(labPair{s[0], s[1], from, to}))
			}
			fmt.Fprintln(columns)
		}
	}
}

// softwarePairs are which software calls which.
var softwarePairs = [][2]string{{"tsnet", "tsnet"}, {"meshnet", "meshnet"}, {"meshnet", "tsnet"}, {"tsnet", "meshnet"}}
