package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Program is a node for web pages, compiled.
type Program struct {
	wasm     []byte // the node
	wasmExec []byte // what starts it, of the Go that compiled it
}

// Build compiles the node. It is run in a directory of the module, takes minutes
// the first time, and seconds later.
func Build(ctx context.Context, dir string) (*Program, error) {
	temp, err := os.MkdirTemp("", "meshnet-browser")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	out := filepath.Join(temp, "meshnet.wasm")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", out}
	for _, cold := range []string{"net", "net/http", "crypto/...", "encoding/...", "regexp/..."} {
		// What is not inlined compresses better, a twenty-fifth in all, and no
		// packet passes through these.
		args = append(args, "-gcflags="+cold+"=-l")
	}
	build := exec.CommandContext(ctx, "go", append(args, "github.com/meshnet-go/meshnet/browser/node")...)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the node: %w\n%s", err, output)
	}
	var p Program
	if p.wasm, err = os.ReadFile(out); err != nil {
		return nil, err
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking where Go is: %w", err)
	}
	p.wasmExec, err = os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	return &p, err
}

// Size returns the size of the node in bytes, not compressed.
func (p *Program) Size() int { return len(p.wasm) }

// Wasm returns the node. It must not be modified.
func (p *Program) Wasm() []byte { return p.wasm }
