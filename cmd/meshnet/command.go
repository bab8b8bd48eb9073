package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"
)

// A command is one of meshnet's, or one below another: "rename" of "nodes".
type command struct {
	name    string
	args    string // what follows the flags, such as "NODE [NAME]" or "ROUTE..."
	summary string
	// help is what -h prints, with the line FLAGS where they belong. Empty
	// means that the rest of the command says enough.
	help string
	make func() action // nil for one that has only commands below it
	sub  []command
}

// An action is what a command does. Its flags are its fields.
type action interface {
	addFlags(fs *flag.FlagSet)
	// run does all of it, and ends in an orderly way when ctx does. It is given
	// as many arguments as the command takes.
	run(ctx context.Context, w world, args []string) error
}

// newAction makes an action whose flags are not set.
func newAction[T any, P interface {
	*T
	action
}]() action {
	return P(new(T))
}

// find returns the command that the arguments name, its path, and what follows
// in the arguments. Without a command, the first that follows names none.
func find(table []command, args []string) (c *command, path, rest []string) {
	rest = args
	for len(rest) > 0 {
		below := lookUp(table, rest[0])
		if below == nil {
			break
		}
		c, table = below, below.sub
		path, rest = append(path, rest[0]), rest[1:]
	}
	if c == nil || len(rest) > 0 && len(c.sub) > 0 && c.args == "" && !strings.HasPrefix(rest[0], "-") {
		return nil, path, rest
	}
	return c, path, rest
}

func lookUp(table []command, name string) *command {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

// suggestion says where a command that is there can be found.
func suggestion(path []string, wrong string) string {
	table := commands()
	for _, name := range path {
		table = lookUp(table, name).sub
	}
	help := strings.Join(append([]string{"meshnet help"}, path...), " ") + " lists them"
	for _, c := range table {
		if strings.HasPrefix(c.name, wrong) || strings.HasPrefix(wrong, c.name) || slip(c.name, wrong) {
			return fmt.Sprintf("; did you mean %q? (%s)", strings.Join(append(path, c.name), " "), help)
		}
	}
	return " (" + help + ")"
}

// slip says whether a word is another but for one letter that is missing, too
// many or wrong, or two that have changed places.
func slip(right, wrong string) bool {
	if len(right) < len(wrong) {
		right, wrong = wrong, right
	}
	n := 0 // letters that are the same at the beginning
	for n < len(wrong) && right[n] == wrong[n] {
		n++
	}
	r, w := right[n:], wrong[n:]
	switch len(r) - len(w) {
	case 0:
		return r == "" || r[1:] == w[1:] || len(r) > 1 && r[0] == w[1] && r[1] == w[0] && r[2:] == w[2:]
	case 1:
		return r[1:] == w
	}
	return false
}

// do reads the flags and arguments, and does what they ask for.
func (c *command) do(ctx context.Context, w world, name string, args []string) error {
	fs := flag.NewFlagSet("meshnet "+name, flag.ContinueOnError)
	if c.make == nil {
		if _, err := parseFlags(w, fs, args, c.text(name)); err != nil {
			return err
		}
		return usagef("it wants one of its commands: %s", c.subNames())
	}
	a := c.make()
	a.addFlags(fs)
	rest, err := parseFlags(w, fs, args, c.text(name))
	if err != nil {
		return err
	}
	if err := c.checkArgs(rest); err != nil {
		return err
	}
	if p, ok := a.(patient); ok {
		told := time.AfterFunc(instant, func() { fmt.Fprintf(w.stderr, "Waiting for %s.\n", p.waitsFor()) })
		defer told.Stop()
	}
	return a.run(ctx, w, rest)
}

// instant is after how long people wonder what a command does.
const instant = time.Second

// A patient action is done in an instant, but for what it may have to wait for.
type patient interface {
	// waitsFor is called while the action runs.
	waitsFor() string
}

// checkArgs checks how many arguments there are.
func (c *command) checkArgs(args []string) error {
	least, most := 0, 0
	for _, word := range strings.Fields(c.args) {
		if !strings.HasPrefix(word, "[") {
			least++
		}
		most++
		if strings.Contains(word, "...") {
			most = len(args) + 1
		}
	}
	switch {
	case len(args) > most:
		return usagef("there is no use for the argument %q", args[most])
	case len(args) < least:
		return usagef("arguments are missing: it wants %s", c.args)
	}
	return nil
}

func (c *command) subNames() string {
	var names []string
	for _, s := range c.sub {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// text returns what -h prints, with the line FLAGS in it.
func (c *command) text(name string) string {
	var b strings.Builder
	if c.help != "" {
		b.WriteString(c.help)
	} else {
		fmt.Fprintf(&b, "meshnet %s: %s\n\nUsage:\n\n  meshnet %s [flags] %s\n\nFlags:\n\nFLAGS\n", name, c.summary, name, c.args)
	}
	if len(c.sub) > 0 {
		b.WriteString("\nCommands:\n\n")
		for _, s := range c.sub {
			fmt.Fprintf(&b, "  meshnet %s %-24s %s\n", name, strings.TrimSpace(s.name+" "+s.args), s.summary)
		}
	}
	return b.String()
}
