package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// missing fails the test when one of the programs is not installed.
func missing(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: make deps installs it", err)
		}
	}
}

// buildProxies builds meshnet and socks5proxy and returns where they are.
func buildProxies(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/meshnet", "./examples/socks5proxy")
	build.Dir = ".."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the proxies are not built: %v: %s", err, output)
	}
	return dir
}

// command prepares a program that runs without the variables of whoever runs
// the test, of which many name proxies. It ends with ctx, and the processes
// that it started end with it.
func command(ctx context.Context, env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/nonexistent", "LC_ALL=C"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// result is how a program ended.
type result struct {
	exit           int
	stdout, stderr string
}

// run runs a program to its end. An exit code other than 0 is not an error.
func run(cmd *exec.Cmd) (result, error) {
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if _, exited := errors.AsType[*exec.ExitError](err); exited && r.exit > 0 {
		err = nil
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w: %s", cmd.Args[0], err, r.stderr)
	}
	return r, nil
}

// says checks that a program ended well and printed a text.
func (r result) says(text string) error {
	return r.ends(0, text)
}

// ends checks the exit code and that a text was printed, be it as an error.
func (r result) ends(exit int, text string) error {
	if r.exit != exit || !strings.Contains(r.stdout+r.stderr, text) {
		return fmt.Errorf("exit code %d, not %d with %q: %s%s", r.exit, exit, text, shorten(r.stdout), shorten(r.stderr))
	}
	return nil
}

func shorten(s string) string {
	const enough = 2000
	if len(s) > enough {
		return s[:enough] + "…"
	}
	return s
}

// process is a program that runs beside the test.
type process struct {
	cmd    *exec.Cmd
	output output
	exited chan struct{} // closed when it has, with err set
	err    error
}

// startProcess starts a program that runs until the end of the test, at the
// latest.
func startProcess(t *testing.T, name string, env []string, program string, args ...string) *process {
	t.Helper()
	return startProcessBy(t, (*exec.Cmd).Start, name, env, program, args...)
}

// startProcessBy is startProcess where start does that.
func startProcessBy(t *testing.T, start func(*exec.Cmd) error, name string, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{
		cmd:    command(context.Background(), env, program, args...),
		output: output{also: newLog(t, name)},
		exited: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	check(t, name+" starts", start(p.cmd))
	go func() {
		defer close(p.exited)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Cancel()
		<-p.exited
	})
	return p
}

// terminate asks the process to end.
func (p *process) terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// end waits until the process has ended, and returns how.
func (p *process) end(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("it still runs: %w", ctx.Err())
	}
}

// logged waits until the process has printed what the regular expression
// matches, and returns the match of its first group.
func (p *process) logged(t *testing.T, expression string) string {
	t.Helper()
	re := regexp.MustCompile(expression)
	var match []string
	eventually(t, p.cmd.Path+" logs "+expression, func(context.Context) error {
		if match = re.FindStringSubmatch(p.output.String()); match != nil {
			return nil
		}
		select {
		case <-p.exited:
			t.Fatalf("it ended: %v: %s", p.err, p.output.String())
		default:
		}
		return errors.New("it does not")
	})
	return match[1]
}

// descriptors counts the process's open files.
func (p *process) descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}

// memory returns how much memory the process has at the moment, as the kernel
// writes it.
func (p *process) memory() string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	match := regexp.MustCompile(`VmRSS:\s+(.*)`).FindSubmatch(status)
	if match == nil {
		return ""
	}
	return string(match[1])
}

// output keeps what a process prints.
type output struct {
	also io.Writer

	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	o.text.Write(p)
	o.mu.Unlock()
	return o.also.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
