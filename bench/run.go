package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/report"
)

// A suite measures some related figures, of every software that is compared.
type suite struct {
	name, about string
	measure     func(*run) error
}

func (s suite) called() string { return s.name }

// suites are all there are, in the order in which they run.
var suites = []suite{
	{"throughput", "bulk transfers of TCP: rate, processor time, memory", throughput},
	{"latency", "round trips of one byte on an open connection", latency},
	{"dial", "new connections", dial},
	{"connections", "memory of idle connections, at the server", connections},
	{"start", "from the start of a program to a node that is up, and to the first byte", start},
	{"widearea", "bulk transfers across long ways", wideArea},
	{"relay", "relays alone, over TLS", relay},
	{"restart", "starts of nodes that were members before", restart},
	{"peers", "nodes in large meshes", manyPeers},
	{"size", "programs that link a node", size},
	{"idle", "a node that does nothing", idle},
}

// A run is one run of the bench.
type run struct {
	ctx      context.Context
	software []software
	rounds   int
	duration time.Duration // of a bulk transfer
	cases    string        // what the names of cases have to contain
	profiles string        // directory for CPU profiles, or empty
	report   report.Report
	dir      string // for programs and the state of nodes
	source   string // directory of this module
	built    map[string]bool
	nodes    int // started so far
	// hasty divides how often things are done: a test does with less.
	hasty int
}

func newRun(ctx context.Context, compared []software, rounds int, duration time.Duration) (*run, error) {
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/meshnet-go/meshnet/bench").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the sources, which are in the module bench: %w", err)
	}
	dir, err := os.MkdirTemp("", "meshnet-bench-")
	if err != nil {
		return nil, err
	}
	r := &run{
		ctx: ctx, software: compared, rounds: rounds, duration: duration,
		dir: dir, source: strings.TrimSpace(string(source)), built: make(map[string]bool), hasty: 1,
	}
	r.report.Order = names(compared)
	r.report.Command = strings.Join(os.Args[1:], " ")
	r.report.Rounds = rounds
	r.report.Targets = targets()
	r.report.Describe(r.source)
	return r, nil
}

func (r *run) close() { os.RemoveAll(r.dir) }

// say tells the person who waits how far it is.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// program builds a program of this module, unless that has been done, and
// returns where it is.
func (r *run) program(path string) (string, error) {
	file := filepath.Join(r.dir, strings.ReplaceAll(path, "/", "-"))
	if r.built[path] {
		return file, nil
	}
	cmd := exec.CommandContext(r.ctx, "go", "build", "-o", file, "./"+path)
	cmd.Dir = r.source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", path, err, out)
	}
	r.built[path] = true
	return file, nil
}

// wanted reports whether a case is to be measured.
func (r *run) wanted(name string) bool { return strings.Contains(name, r.cases) }

// often is how often something is done of which many have to be.
func (r *run) often(n int) int { return max(1, n/r.hasty) }

// rotate has measure called in every round for each software that ok approves
// of. Nobody comes always first. Who fails is left out from then on, and the
// report says why.
func (r *run) rotate(in report.Case, compared []software, measure func(software) error) error {
	return r.times(r.rounds, in, compared, measure)
}

// times is rotate with another number of rounds.
func (r *run) times(rounds int, in report.Case, compared []software, measure func(software) error) error {
	failed := make(map[string]bool)
	for round := range rounds {
		for i := range compared {
			s := compared[(round+i)%len(compared)]
			if failed[s.name] {
				continue
			}
			if err := r.ctx.Err(); err != nil {
				return err
			}
			if err := measure(s); err != nil {
				r.say("%s, %s, %s fails: %v", in.Suite, in.Name, s.name, err)
				r.report.Fail(in, s.name, err)
				failed[s.name] = true
			}
		}
	}
	return nil
}
