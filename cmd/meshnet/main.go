// Meshnet is the command of this repository: a coordinator and relay of one's
// own, what administers them, and a node of a mesh. meshnet help lists what it
// does, and meshnet COMMAND -h tells all about a command.
//
// A command is a file of its own and a line in the table here.
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
	w := world{os.Getenv, os.Stdin, os.Stdout, os.Stderr}
	os.Exit(run(ctx, w, os.Args[1:]))
}

// commands is all that meshnet can do, in the order of the overview.
func commands() []command {
	return []command{
		{name: "coord", summary: "serve a mesh of one's own: coordinator, relay and STUN", help: coordHelp, make: newAction[coordConfig], sub: coordCommands()},
		{name: "authkey", summary: "make a key that admits nodes", help: authKeyHelp, make: newAction[authKeyConfig], sub: authKeyCommands()},
		{name: "nodes", summary: "list the nodes, let them in, rename, tag, expire and remove them", help: nodesHelp, make: newAction[nodesListConfig], sub: nodeCommands()},
		{name: "users", summary: "list, add, change and remove users", help: usersHelp, make: newAction[usersListConfig], sub: userCommands()},
		{name: "routes", summary: "list and approve routes to other networks, and exit nodes", help: routesHelp, make: newAction[routesListConfig], sub: routeCommands()},
		{name: "policy", summary: "print, check and set who may reach whom", help: policyHelp, make: newAction[policyGetConfig], sub: policyCommands()},
		{name: "dns", summary: "list and change what nodes resolve besides their names", help: dnsHelp, make: newAction[dnsListConfig], sub: dnsCommands()},
		{name: "ca", summary: "print the certificate of the mesh's authority, for browsers and the like", help: caHelp, make: newAction[caConfig]},
		{name: "relay", summary: "serve a relay by itself, with STUN", help: relayHelp, make: newAction[relayConfig], sub: relayCommands()},
		{name: "proxy", summary: "join a mesh, and let other programs on the machine reach it", help: proxyHelp, make: newAction[proxyConfig]},
		{name: "up", summary: "join a mesh and stay in it", help: upHelp, make: newAction[upConfig]},
		{name: "status", summary: "tell of the node that runs here, and of its peers", help: statusHelp, make: newAction[statusConfig]},
		{name: "ping", args: "NODE", summary: "ask a node whether it is there, and by which path", help: pingHelp, make: newAction[pingConfig]},
		{name: "netcheck", summary: "look at the network that the node is in", help: netcheckHelp, make: newAction[netcheckConfig]},
		{name: "whois", args: "NODE", summary: "tell who has an address of the mesh", help: whoisHelp, make: newAction[whoisConfig]},
		{name: "nc", args: "[NODE|TOKEN] [PORT]", summary: "join standard input and output to a connection of the mesh", help: ncHelp, make: newAction[ncConfig]},
		{name: "completion", args: "bash|zsh|fish [WORD...]", summary: "make a shell complete all of this", help: completionHelp, make: newAction[completionConfig]},
	}
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for could not be done
	exitUsage  = 2 // what was asked for makes no sense
)

// A world is what a command has around it.
type world struct {
	env            func(name string) string // "" for a variable that is not set
	stdin          io.Reader
	stdout, stderr io.Writer
}

// A usageError is that what the user asked for makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program, and returns its exit code.
func run(ctx context.Context, w world, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(w.stderr, overview())
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) == 1 {
			fmt.Fprint(w.stdout, overview())
			return exitOK
		}
		args = append(args[1:], "-h")
	}
	c, path, rest := find(commands(), args)
	if c == nil {
		fmt.Fprintf(w.stderr, "meshnet: there is no command %q%s\n", strings.Join(append(path, rest[0]), " "), suggestion(path, rest[0]))
		return exitUsage
	}
	name := strings.Join(path, " ")
	return conclude(w.stderr, name, c.do(ctx, w, name, rest))
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
	text := err.Error()
	for _, pkg := range []string{"meshnet: ", "coord: ", "derp: "} {
		text = strings.TrimPrefix(text, pkg)
	}
	fmt.Fprintf(stderr, "meshnet %s: %s\n", name, text)
	return exitFailed
}

func overview() string {
	var b strings.Builder
	b.WriteString("meshnet is a mesh network in one program: a node of it, and all that it needs.\n\nCommands:\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  meshnet %-10s %s\n", c.name, c.summary)
	}
	b.WriteString("\nmeshnet COMMAND -h tells more about each.\n")
	return b.String()
}
