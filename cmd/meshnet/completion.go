package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

const completionHelp = `meshnet completion prints what makes a shell complete meshnet's commands, flags
and, where a coordinator runs, the names of nodes and users.

Usage:

  meshnet completion bash|zsh|fish

Examples:

  source <(meshnet completion bash)
      in ~/.bashrc
  source <(meshnet completion zsh)
      in ~/.zshrc, behind compinit
  meshnet completion fish > ~/.config/fish/completions/meshnet.fish

Flags:

FLAGS

What it prints asks "meshnet completion SHELL -- WORD..." which words may stand in
place of the last; bash has it the command line as one.
`

// A completionConfig is the flags of meshnet completion: it has none.
type completionConfig struct{}

func (*completionConfig) addFlags(*flag.FlagSet) {}

func (*completionConfig) complete(_ context.Context, argument string) (words []suggested) {
	if argument == "bash|zsh|fish" {
		for _, shell := range []string{"bash", "zsh", "fish"} {
			words = append(words, suggested{word: shell})
		}
	}
	return words
}

func (*completionConfig) run(ctx context.Context, w world, args []string) error {
	script := completionScripts()[args[0]]
	if script == "" {
		return usagef("there is no completion for %q, but for bash, zsh and fish", args[0])
	}
	if len(args) == 1 {
		_, err := io.WriteString(w.stdout, script)
		return err
	}
	words := args[1:]
	if args[0] == "bash" {
		words = shellWords(args[1])[1:] // behind meshnet itself
	}
	for _, s := range suggest(ctx, w, words) {
		fmt.Fprintln(w.stdout, s.line(args[0]))
	}
	return nil
}

// A suggested word may stand at a place of the command line.
type suggested struct{ word, about string }

// line returns the word as a shell wants it.
func (s suggested) line(shell string) string {
	about, _, _ := strings.Cut(plain(s.about), ";")
	switch {
	case shell == "zsh":
		return strings.ReplaceAll(s.word, ":", `\:`) + ":" + about
	case shell == "fish" && about != "":
		return s.word + "\t" + about
	}
	return s.word
}

// A completer is an action that knows what its arguments may be.
type completer interface {
	// complete returns what the argument may be, by its name in command.args.
	// The flags have been set as far as they are given.
	complete(ctx context.Context, argument string) []suggested
}

// completionPatience is how long somebody waits for an answer to the Tab key.
const completionPatience = 2 * time.Second

// suggest returns what may stand in place of the last word.
func suggest(ctx context.Context, w world, words []string) []suggested {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	if len(words) == 0 {
		return nil
	}
	for i, word := range words { // not all shells give it expanded
		if below, ok := strings.CutPrefix(word, "~/"); ok {
			words[i] = filepath.Join(w.env("HOME"), below)
		}
	}
	last := words[len(words)-1]
	before := words[:len(words)-1]
	root := command{sub: commands()}
	if len(before) > 0 && before[0] == "help" {
		before = before[1:]
	} else if len(before) == 0 {
		root.sub = append(root.sub, command{name: "help", summary: "tell more about a command"})
	}
	all := root.suggest(ctx, w, before, last)
	var fitting []suggested
	for _, s := range all {
		if strings.HasPrefix(s.word, last) && harmless(s.word) {
			fitting = append(fitting, s)
		}
	}
	return fitting
}

// harmless says whether a shell takes the word for nothing but a word.
func harmless(word string) bool {
	return strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@/") == ""
}

// suggest returns what may stand behind the words, if it is to begin like last.
func (c *command) suggest(ctx context.Context, w world, words []string, last string) []suggested {
	if len(words) > 0 {
		if below := lookUp(c.sub, words[0]); below != nil {
			return below.suggest(ctx, w, words[1:], last)
		}
	}
	if c.make == nil {
		return c.suggestCommands(words)
	}
	a := c.make()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	a.addFlags(fs)
	args, wantsValue := readWords(fs, words)
	switch {
	case wantsValue:
		return nil
	case strings.HasPrefix(last, "-"):
		return suggestFlags(fs, last)
	}
	found := c.suggestCommands(words)
	if knowing, ok := a.(completer); ok {
		if setFromEnv(fs, w.env) == nil {
			found = append(found, knowing.complete(ctx, c.argument(len(args)))...)
		}
	}
	return found
}

// readWords sets the flags that the words give, and returns the other words. It
// reports whether the last word is a flag whose value comes next.
func readWords(fs *flag.FlagSet, words []string) (args []string, wantsValue bool) {
	fs.SetOutput(io.Discard)
	for i := 0; i < len(words); i++ {
		if words[i] == "--" {
			return append(args, words[i+1:]...), false
		}
		name, isFlag := strings.CutPrefix(words[i], "-")
		if !isFlag || name == "" {
			args = append(args, words[i])
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		f := fs.Lookup(name)
		switch {
		case f == nil:
			continue
		case hasValue:
		case isBool(f):
			value = "true"
		case i+1 == len(words):
			return args, true
		default:
			i++
			value = words[i]
		}
		fs.Set(name, value) // one that is wrong is not ours to say
	}
	return args, false
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// suggestFlags returns the flags, with as many hyphens as the word begins with.
func suggestFlags(fs *flag.FlagSet, last string) (found []suggested) {
	hyphens := "-"
	if strings.HasPrefix(last, "--") {
		hyphens = "--"
	}
	fs.VisitAll(func(f *flag.Flag) {
		_, about := flag.UnquoteUsage(f)
		about, _, _ = strings.Cut(strings.ReplaceAll(about, "\n", " "), " (default")
		found = append(found, suggested{hyphens + f.Name, about})
	})
	return found
}

// suggestCommands returns the commands below, if none was named.
func (c *command) suggestCommands(words []string) (found []suggested) {
	for _, s := range c.sub {
		if len(words) == 0 {
			found = append(found, suggested{s.name, s.summary})
		}
	}
	return found
}

// argument returns the name of the command's argument number i, from 0.
func (c *command) argument(i int) string {
	names := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(c.args))
	switch {
	case len(names) == 0:
		return ""
	case i >= len(names) && strings.HasSuffix(names[len(names)-1], "..."):
		i = len(names) - 1
	case i >= len(names):
		return ""
	}
	return strings.TrimSuffix(names[i], "...")
}
