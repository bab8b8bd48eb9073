package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// variables is an environment.
type variables map[string]string

func (v variables) get(name string) string { return v[name] }

// env is what a run in the mesh has in its environment.
func (m *mesh) env() variables {
	return variables{"MESHNET_CONTROL": m.url, "MESHNET_AUTHKEY": m.authKey, "MESHNET_EPHEMERAL": "true", "MESHNET_HOSTNAME": "gate"}
}

// A program is a run of the command.
type program struct {
	stdout, stderr *output
	interrupt      context.CancelFunc // as a signal does
	code           chan int           // gets the exit code
}

func start(t *testing.T, env variables, args ...string) *program {
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{newOutput(), newOutput(), cancel, make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.code <- run(ctx, world{env.get, strings.NewReader(""), p.stdout, p.stderr}, args)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%q printed:\n%s%s", args, p.stdout, p.stderr)
		}
	})
	return p
}

// proxy starts meshnet proxy and waits until it serves.
func (m *mesh) proxy(t *testing.T, env variables, args ...string) *program {
	t.Helper()
	p := start(t, env, append([]string{"proxy"}, args...)...)
	p.stderr.wait(t, `joined the mesh`)
	return p
}

// ends checks how the program ends.
func (p *program) ends(t *testing.T, why string, want int, texts ...string) {
	t.Helper()
	select {
	case code := <-p.code:
		if code != want {
			t.Errorf("%s: the exit code is %d, want %d", why, code, want)
		}
	case <-testCtx(t).Done():
		t.Fatalf("%s: it does not end", why)
	}
	for _, text := range texts {
		if !strings.Contains(p.stderr.String(), text) {
			t.Errorf("%s: it does not say %q: %s", why, text, p.stderr)
		}
	}
}

// An output is what a program prints, for those who wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func (o *output) String() string {
	text, _ := o.read()
	return text
}

// wait waits for a text that matches, and returns the first group of it.
func (o *output) wait(t *testing.T, expression string) string {
	t.Helper()
	re := regexp.MustCompile(expression)
	ctx := testCtx(t)
	for {
		text, changed := o.read()
		if match := re.FindStringSubmatch(text); match != nil {
			return match[len(match)-1]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("nothing printed matches %q: %s", expression, text)
		}
	}
}
