// Bench compares meshnet with what a user would pick instead, in one run on one
// machine: see README.md. It takes Linux and root, for network namespaces.
//
//	cd bench && go run . -suites throughput,latency -peers meshnet,tsnet,kernel -rounds 5
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if isRouter(os.Args) {
		serveRouter()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench does what the arguments say.
func bench(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	var (
		suiteNames = flags.String("suites", "all", "which to run, of "+strings.Join(names(suites), ", "))
		peers      = flags.String("peers", "all", "which to compare, of "+strings.Join(names(everySoftware), ", "))
		rounds     = flags.Int("rounds", 5, "how often each is measured, in rotating order")
		duration   = flags.Duration("duration", 3*time.Second, "how long a bulk transfer is measured")
		cases      = flags.String("cases", "", "of each suite only the cases whose names contain this")
		out        = flags.String("out", "results", "directory for report.md, report.json and the plots")
		profiles   = flags.String("profiles", "", "directory for CPU profiles of every process; they cost speed")
	)
	flags.Parse(args)
	chosen, err := choose(suites, *suiteNames)
	if err != nil {
		return err
	}
	compared, err := choose(everySoftware, *peers)
	if err != nil {
		return err
	}
	r, err := newRun(ctx, compared, *rounds, *duration)
	if err != nil {
		return err
	}
	defer r.close()
	r.cases, r.profiles = *cases, *profiles
	if *profiles != "" {
		if err := os.MkdirAll(*profiles, 0o755); err != nil {
			return err
		}
	}
	for _, s := range chosen {
		r.say("%s: %s", s.name, s.about)
		if err := s.measure(r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopped during %s: %w", s.name, context.Cause(ctx))
		}
		if err := r.report.Write(*out); err != nil { // what there is, lest it is lost
			return err
		}
	}
	return r.report.Markdown(os.Stdout)
}

// choose picks from a list by names with commas between them, or all.
func choose[T named](from []T, list string) ([]T, error) {
	if list == "all" {
		return from, nil
	}
	var chosen []T
	for name := range strings.SplitSeq(list, ",") {
		i := indexName(from, strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("there is no %q, but %s", name, strings.Join(names(from), ", "))
		}
		chosen = append(chosen, from[i])
	}
	return chosen, nil
}

type named interface{ called() string }

func names[T named](list []T) (all []string) {
	for _, e := range list {
		all = append(all, e.called())
	}
	return all
}

func indexName[T named](list []T, name string) int {
	for i, e := range list {
		if e.called() == name {
			return i
		}
	}
	return -1
}
