package layers

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The budget of a program that serves a page on a mesh, examples/hello: what
// users of embedded libraries count before they take one. Whoever needs more
// says for what in the commit that raises it.
const (
	budgetBytes   = 12 << 20
	budgetModules = 12 // linked, with our own
)

func TestHelloIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := filepath.Join(t.TempDir(), "hello")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./examples/hello")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	file, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if size := file.Size(); size > budgetBytes {
		t.Errorf("hello has %d bytes, and may have %d; go tool nm -size -sort size shows what they are", size, budgetBytes)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if n := 1 + len(info.Deps); n > budgetModules {
		t.Errorf("hello links %d modules, and may link %d:", n, budgetModules)
		for _, m := range info.Deps {
			t.Error(m.Path)
		}
	}
	t.Logf("hello has %.2f MiB and links %d modules", float64(file.Size())/(1<<20), 1+len(info.Deps))
}
