// Package process starts the programs of the bench and talks with them, as
// package wire says.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// A Process is a program that runs. It has one user at a time.
type Process struct {
	Name    string        // of whom it is, for errors
	Started time.Duration // by wire.Now
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	log     *tail
	stop    func() bool // the watch on the context
}

// Where starts a command somewhere: in a network namespace.
type Where interface{ Start(*exec.Cmd) error }

// Options are what else a program can be given.
type Options struct {
	Files []*os.File // become its files 3 and so on
	Env   []string   // beside the bench's own
}

// Start runs a program and waits until it is ready; ready gets what it says then,
// unless it is nil. The program is killed when ctx ends, and when the bench does.
func Start(ctx context.Context, name, program string, where Where, config, ready any, o Options) (*Process, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, log: new(tail)}
	p.cmd = exec.Command(program, string(text))
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.ExtraFiles = o.Files
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.Started = wire.Now()
	if err := where.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.stop = context.AfterFunc(ctx, func() { p.cmd.Process.Kill() })
	if err := p.answer(ready); err != nil {
		p.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// Call asks for something; result gets the answer, unless it is nil.
func (p *Process) Call(verb string, args, result any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return err
	}
	line, err := json.Marshal(wire.Request{Verb: verb, Args: text})
	if err != nil {
		return err
	}
	if _, err = p.in.Write(append(line, '\n')); err == nil {
		err = p.answer(result)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, verb, err)
	}
	return nil
}

func (p *Process) answer(result any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it says no more (%w); its last words:\n%s", err, p.log)
	}
	var r wire.Response
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("it said %q: %w", line, err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(r.Result, result)
}

// Usage is what the process has taken so far.
func (p *Process) Usage() (u wire.Usage, err error) { return u, p.Call("usage", nil, &u) }

// Signal sends the process a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// patience is how long a program may take to end by itself.
const patience = 2 * time.Second

// Close ends the process, and returns when it is gone.
func (p *Process) Close() {
	p.in.Close()
	overdue := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	io.Copy(io.Discard, p.out)
	p.cmd.Wait()
	overdue.Stop()
	p.stop()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 16 << 10
	if t.text.Len()+len(b) > most {
		kept := t.text.String()
		t.text.Reset()
		t.text.WriteString(kept[len(kept)/2:])
	}
	t.text.Write(b[max(0, len(b)-most):])
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
