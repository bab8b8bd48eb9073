package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/meshnet-go/meshnet/coord"
)

const policyHelp = `meshnet policy prints the policy, which says who in the mesh may reach whom, and
sets another. Without one, every node may reach every other.

Usage:

  meshnet policy get -dir DIR
  meshnet policy set -dir DIR FILE
  meshnet policy reset -dir DIR
  meshnet policy check FILE

Examples:

  meshnet policy get -dir mesh > policy.json
  meshnet policy check policy.json
      looks for mistakes and runs the tests in the file; it needs no coordinator
  meshnet policy set -dir mesh policy.json
      does the same, and then all nodes have it at once

FILE is "-" for standard input. A policy is JSON with comments, in the form of
Tailscale's and Headscale's:

  {
    "groups": {"group:dev": ["ann@", "bob@"]},
    "acls": [
      {"action": "accept", "src": ["group:dev"], "dst": ["tag:web:22,80"]},
      {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}
    ],
    "tagOwners": {"tag:web": ["group:dev"]},
    "tests": [{"src": "ann@", "accept": ["tag:web:22"], "deny": ["tag:web:25"]}]
  }

One with a mistake, or of which a test fails, is refused, and the policy that is
in force stays. MESHNET_DIR may stand for -dir.

Flags:

FLAGS
`

func policyCommands() []command {
	return []command{
		{name: "get", summary: "print the policy", make: newAction[policyGetConfig]},
		{name: "set", args: "FILE", summary: "check a policy, and put it in force", make: newAction[policySetConfig]},
		{name: "reset", summary: "let every node reach every other again", make: newAction[policyResetConfig]},
		{name: "check", args: "FILE", summary: "check a policy, with the tests in it", make: newAction[policyCheckConfig]},
	}
}

// A shownPolicy is the policy of a mesh.
type shownPolicy struct {
	Text    string // as it was set; empty if none is
	InForce string // a sentence on what is
}

var getPolicy = operation[none, shownPolicy]{"policy", func(ctx context.Context, s *coord.Server, _ none) (shownPolicy, error) {
	text, err := s.Policy(ctx)
	return shownPolicy{string(text), s.Status().Policy}, err
}}

// setPolicy's text is empty for none.
var setPolicy = operation[string, shownPolicy]{"policy/set", func(ctx context.Context, s *coord.Server, text string) (shownPolicy, error) {
	err := s.SetPolicy(ctx, []byte(text))
	return shownPolicy{text, s.Status().Policy}, err
}}

type policyGetConfig struct{ adminConfig }

func (c *policyGetConfig) run(ctx context.Context, w world, _ []string) error {
	p, err := getPolicy.ask(ctx, &c.adminConfig, none{})
	switch {
	case err != nil:
		return err
	case c.json:
		return printJSON(w.stdout, p)
	case p.Text == "":
		fmt.Fprintf(w.stderr, "In force: %s.\n", p.InForce)
		return nil
	}
	_, err = io.WriteString(w.stdout, p.Text)
	return err
}

type policySetConfig struct{ adminConfig }

func (c *policySetConfig) run(ctx context.Context, w world, args []string) error {
	text, err := readPolicy(w, args[0])
	if err == nil {
		err = checkPolicy(args[0], text)
	}
	if err != nil {
		return err
	}
	return c.set(ctx, w, string(text))
}

func (c *adminConfig) set(ctx context.Context, w world, text string) error {
	p, err := setPolicy.ask(ctx, c, text)
	if err == nil && c.json {
		return printJSON(w.stdout, p)
	}
	return c.done(w.stdout, err, "In force: "+p.InForce+".")
}

type policyResetConfig struct{ adminConfig }

func (c *policyResetConfig) run(ctx context.Context, w world, _ []string) error {
	return c.set(ctx, w, "")
}

const maxPolicyFile = 1 << 20 // bytes; more than that no coordinator takes

// readPolicy reads a policy, which is not empty.
func readPolicy(w world, file string) ([]byte, error) {
	in := w.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) == 0:
		return nil, fmt.Errorf("%s is empty; meshnet policy reset is for no policy", file)
	}
	return text, nil
}

// A policyMistake is one, and where it is.
type policyMistake struct {
	File string
	coord.PolicyError
}

func (m policyMistake) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Reason)
}

// policyMistakes is all that is wrong with a policy, a line for each, in the
// form in which editors find the place.
type policyMistakes []policyMistake

func (m policyMistakes) Error() string {
	var b strings.Builder
	b.WriteString("the policy is refused:")
	for _, one := range m {
		b.WriteString("\n" + one.Error())
	}
	return b.String()
}

// checkPolicy returns policyMistakes if there are some.
func checkPolicy(file string, text []byte) error {
	err := coord.CheckPolicy(text)
	var mistakes policyMistakes
	if all, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, err := range all.Unwrap() {
			if e, ok := errors.AsType[coord.PolicyError](err); ok {
				mistakes = append(mistakes, policyMistake{file, e})
			}
		}
	}
	if len(mistakes) > 0 {
		return mistakes
	}
	return err
}

type policyCheckConfig struct{ json bool }

func (c *policyCheckConfig) addFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.json, "json", false, "print the mistakes as JSON")
}

func (c *policyCheckConfig) run(_ context.Context, w world, args []string) error {
	text, err := readPolicy(w, args[0])
	if err != nil {
		return err
	}
	err = checkPolicy(args[0], text)
	mistakes, ok := errors.AsType[policyMistakes](err)
	if c.json && (err == nil || ok) {
		if err := printJSON(w.stdout, append(policyMistakes{}, mistakes...)); err != nil {
			return err
		}
	} else if err == nil {
		fmt.Fprintln(w.stdout, "The policy has no mistakes, and its tests pass.")
	}
	return err
}
