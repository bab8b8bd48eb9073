// Meshnet is the command of this repository. So far it has one subcommand:
//
//	meshnet proxy    join a mesh, and let other programs on the machine reach it
//
// and meshnet proxy -h tells all about it. A subcommand is a file of its own
// and a line in the table here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for could not be done
	exitUsage  = 2 // what was asked for makes no sense
)

// A command is one of meshnet's subcommands.
type command struct {
	name, summary string
	// run does all of it, and ends in an orderly way when ctx does.
	run func(ctx context.Context, w world, args []string) error
}

var commands = []command{
	{"proxy", "join a mesh, and let other programs on the machine reach it", runProxy},
}

// A world is what a command has around it.
type world struct {
	env            func(name string) string // "" for a variable that is not set
	stdout, stderr io.Writer
}

// A usageError is that what the user asked for makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program, and returns its exit code.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, overview())
		return exitUsage
	}
	name := args[0]
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		fmt.Fprint(stdout, overview())
		return exitOK
	}
	for _, c := range commands {
		if c.name == name {
			err := c.run(ctx, world{env, stdout, stderr}, args[1:])
			return conclude(stderr, name, err)
		}
	}
	fmt.Fprintf(stderr, "meshnet: there is no command %q (meshnet help lists them)\n", name)
	return exitUsage
}

// conclude tells the user how a command ended.
func conclude(stderr io.Writer, name string, err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case usage:
		fmt.Fprintf(stderr, "meshnet %s: %v (meshnet %[1]s -h tells more)\n", name, err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "meshnet %s: %s\n", name, strings.TrimPrefix(err.Error(), "meshnet: "))
	return exitFailed
}

func overview() string {
	var b strings.Builder
	b.WriteString("meshnet is a node of a mesh network, in one program.\n\nCommands:\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  meshnet %-8s %s\n", c.name, c.summary)
	}
	b.WriteString("\nmeshnet COMMAND -h tells more about each.\n")
	return b.String()
}
