package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/meshnet-go/meshnet/bench/internal/report"
)

// hellos are each project's own example of a small web server in the mesh.
var hellos = map[string]string{
	"meshnet": "github.com/meshnet-go/meshnet/examples/hello",
	"tsnet":   "tailscale.com/tsnet/example/tshello",
}

// size looks at what it costs to link a peer. These figures do not vary, but for
// the time of the build.
func size(r *run) error {
	compared := only(r.software, func(s software) bool { return hellos[s.name] != "" })
	for _, c := range []struct {
		name    string
		measure func(in report.Case, s software) error
	}{
		{"hello", r.helloSize},
		{"hello, built from nothing", r.cleanBuild},
		{"hello for js/wasm", r.wasmSize},
	} {
		in := report.Case{Suite: "size", Name: c.name}
		if !r.wanted(in.Name) {
			continue
		}
		r.say("  %s", in.Name)
		if err := r.times(1, in, compared, func(s software) error { return c.measure(in, s) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) helloSize(in report.Case, s software) error {
	file, _, err := r.buildHello(s)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	modules, err := r.lines("version", "-m", file)
	if err != nil {
		return err
	}
	linked := 0
	for _, line := range modules {
		if strings.HasPrefix(line, "\tdep\t") {
			linked++
		}
	}
	packages, err := r.lines("list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", hellos[s.name])
	if err != nil {
		return err
	}
	r.report.Add(in, s.name, "stripped", "MiB", mib(info.Size()))
	r.report.Add(in, s.name, "modules linked", "", float64(linked))
	r.report.Add(in, s.name, "packages outside std", "", float64(len(packages)))
	return nil
}

// cleanBuild builds with an empty cache, the standard library as well.
func (r *run) cleanBuild(in report.Case, s software) error {
	cache, err := os.MkdirTemp(r.dir, "cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	_, cpu, err := r.buildHello(s, "GOCACHE="+cache)
	if err != nil {
		return err
	}
	r.report.Add(in, s.name, "processor time", "s", cpu)
	return nil
}

func (r *run) wasmSize(in report.Case, s software) error {
	file, _, err := r.buildHello(s, "GOOS=js", "GOARCH=wasm")
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var gzipped counter
	z, err := gzip.NewWriterLevel(&gzipped, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, f); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	r.report.Add(in, s.name, "stripped", "MiB", mib(info.Size()))
	r.report.Add(in, s.name, "gzipped", "MiB", mib(int64(gzipped)))
	return nil
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// buildHello builds a project's example, and returns the seconds of processor
// time that it took.
func (r *run) buildHello(s software, env ...string) (file string, cpu float64, err error) {
	file = filepath.Join(r.dir, "hello-"+s.name)
	cmd := exec.CommandContext(r.ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, hellos[s.name])
	cmd.Dir = r.source
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("building it: %w: %.300s", err, out)
	}
	return file, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// lines are what the go command says.
func (r *run) lines(args ...string) (all []string, err error) {
	cmd := exec.CommandContext(r.ctx, "go", args...)
	cmd.Dir = r.source
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		all = append(all, strings.TrimRight(line, "\n"))
	}
	return all, err
}
