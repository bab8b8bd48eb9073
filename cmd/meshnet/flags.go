package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// parseFlags sets the flags of a command from its arguments and, where these
// are silent, from the environment. It returns the arguments that are not flags;
// flags may stand before and behind them, up to "--". Asked for help it prints
// help and the flags, and returns [flag.ErrHelp].
func parseFlags(w world, fs *flag.FlagSet, args []string, help string) (rest []string, err error) {
	fs.SetOutput(io.Discard) // errors are printed in one place, and on one line
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			printHelp(w.stdout, fs, help)
			return nil, err
		case err != nil:
			return nil, usageError{err}
		}
		parsed := len(args) - fs.NArg()
		if fs.NArg() == 0 || parsed > 0 && args[parsed-1] == "--" {
			return append(rest, fs.Args()...), setFromEnv(fs, w.env)
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

func setFromEnv(fs *flag.FlagSet, env func(string) string) error {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := variable(f.Name)
		value := env(name)
		if value == "" || given[f.Name] {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, usagef("invalid value %q for %s: %w", value, name, err))
		}
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// variable returns the name of the environment variable of a flag:
// MESHNET_CONTROL_KEY for -control-key.
func variable(flag string) string {
	return "MESHNET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func printHelp(out io.Writer, fs *flag.FlagSet, help string) {
	before, after, _ := strings.Cut(help, "FLAGS\n")
	fmt.Fprint(out, before)
	fs.SetOutput(out)
	fs.PrintDefaults()
	fs.SetOutput(io.Discard)
	fmt.Fprint(out, after)
}

// A list is the value of a flag that may be given several times, and each time
// several values with commas between them.
type list[T any] struct {
	values []T
	parse  func(string) (T, error)
	given  bool
}

// Set adds values. The first call replaces the default.
func (l *list[T]) Set(text string) error {
	if !l.given {
		l.values, l.given = nil, true
	}
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		v, err := l.parse(item)
		if err != nil {
			return err
		}
		l.values = append(l.values, v)
	}
	return nil
}

// String is for the default that -h shows.
func (l *list[T]) String() string {
	text := make([]string, len(l.values))
	for i, v := range l.values {
		text[i] = fmt.Sprint(v)
	}
	return strings.Join(text, ",")
}
