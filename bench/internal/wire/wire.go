// Package wire is what the bench and the programs that it starts say to each
// other. A program gets its configuration as its only argument, in JSON, and
// then talks in lines of JSON on standard input and output:
//
//	program  {"result": …}                    it is ready; or {"error": "…"}, and it ends
//	bench    {"verb": "load", "args": {…}}
//	program  {"result": …}                    or {"error": "…"}
//	bench    closes standard input            the program ends
//
// One request is under way at a time.
package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Request is a line to a program.
type Request struct {
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Response is a line from a program.
type Response struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Verbs are what a program does when it is asked to.
type Verbs map[string]func(args json.RawMessage) (any, error)

// Verb makes an entry of Verbs from a function with arguments of its own type.
func Verb[Args, Result any](f func(Args) (Result, error)) func(json.RawMessage) (any, error) {
	return func(text json.RawMessage) (any, error) {
		var args Args
		if len(text) > 0 {
			if err := json.Unmarshal(text, &args); err != nil {
				return nil, err
			}
		}
		return f(args)
	}
}

// Main is the main function of a program: start gets the configuration, and
// returns what the bench is told at once, what can be asked of the program, and
// what ends it. Standard output is the bench's alone: whatever else is printed
// goes to standard error.
func Main[Config any](start func(Config) (ready any, verbs Verbs, stop func(), err error)) {
	out := os.Stdout
	os.Stdout = os.Stderr
	if err := run(os.Stdin, out, os.Args[1:], start); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run[Config any](in io.Reader, out io.Writer, args []string, start func(Config) (any, Verbs, func(), error)) error {
	var config Config
	if len(args) != 1 {
		return errors.New("this program is started by the bench")
	}
	if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
		return fmt.Errorf("the configuration: %w", err)
	}
	ready, verbs, stop, err := start(config)
	if err != nil {
		return errors.Join(err, answer(out, nil, err))
	}
	defer stop()
	if err := answer(out, ready, nil); err != nil {
		return err
	}
	return serve(in, out, verbs)
}

// serve answers requests until there are no more.
func serve(in io.Reader, out io.Writer, verbs Verbs) error {
	lines := json.NewDecoder(bufio.NewReader(in))
	for {
		var req Request
		if err := lines.Decode(&req); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		do, ok := verbs[req.Verb]
		if !ok {
			do, ok = everyProgram[req.Verb]
		}
		if !ok {
			do = func(json.RawMessage) (any, error) { return nil, fmt.Errorf("no such verb: %q", req.Verb) }
		}
		result, err := do(req.Args)
		if err := answer(out, result, err); err != nil {
			return err
		}
	}
}

func answer(out io.Writer, result any, failure error) error {
	var r Response
	if failure != nil {
		r.Error = failure.Error()
	} else {
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		r.Result = text
	}
	return json.NewEncoder(out).Encode(r)
}
