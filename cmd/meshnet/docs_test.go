package main

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const root = "../.." // of the repository

// A block of a page in Markdown is what stands between two fences.
type block struct {
	kind string // what stands behind the first fence
	text string
}

func blocks(t *testing.T, page string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	for _, match := range fence.FindAllStringSubmatch(string(text), -1) {
		found = append(found, block{match[1], match[2]})
	}
	return found
}

// The commands of docs/own-mesh.md do what the page says. A block of the kind
// "sh test" is done to its end, one with "&" goes on, and the block behind it is
// what it prints; "json test FILE" is a file.
func TestOwnMesh(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil || runtime.GOOS != "linux" {
		t.Skip("the page is for a Linux machine with curl")
	}
	r := newReader(t)
	all := blocks(t, "docs/own-mesh.md")
	for i, b := range all {
		prints := ""
		if i+1 < len(all) && all[i+1].kind == "text" {
			prints = r.here.Replace(all[i+1].text)
		}
		text := r.here.Replace(b.text)
		name, isFile := strings.CutPrefix(b.kind, "json test ")
		switch {
		case isFile:
			r.write(t, name, text, 0o600)
		case b.kind == "sh test":
			r.does(t, text, prints)
		case b.kind == "sh test &":
			r.starts(t, text, prints)
		}
	}
}

// A reader follows a page, in a directory of its own.
type reader struct {
	dir  string
	env  []string
	here *strings.Replacer // puts ports that are free in place of the page's
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{dir: shortDir(t)}
	path := filepath.Join(r.dir, "bin") + ":" + os.Getenv("PATH")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MESHNET_") && !strings.HasPrefix(v, "XDG_") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, beMeshnet+"=1", "PATH="+path, "HOME="+r.dir, "no_proxy=", "NO_PROXY=")
	r.write(t, "bin/meshnet", "#!/bin/sh\nexec "+os.Args[0]+` "$@"`+"\n", 0o700)
	build := exec.CommandContext(testCtx(t), "go", "build", "-o", filepath.Join(r.dir, "bin/hello"), "./examples/hello")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	coord, proxy := freePorts(t)
	r.here = strings.NewReplacer("8080", coord, "1080", proxy, "bin/hello", "hello",
		"meshnet coord -dir", "meshnet coord -listen "+coord+" -dir",
		"meshnet proxy -control", "meshnet proxy -listen "+proxy+" -control")
	return r
}

// freePorts returns two ports on which nobody listens.
func freePorts(t *testing.T) (one, other string) {
	t.Helper()
	var ports []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports[0], ports[1]
}

func (r *reader) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// command is what a shell does with the text.
func (r *reader) command(t *testing.T, text string) *exec.Cmd {
	cmd := exec.CommandContext(testCtx(t), "sh", "-ec", text)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// does wants the text to print all those lines.
func (r *reader) does(t *testing.T, text, prints string) {
	t.Helper()
	out, err := r.command(t, text).CombinedOutput()
	if err != nil {
		t.Fatalf("%s%v: %s", text, err, out)
	}
	got := strings.Join(strings.Fields(string(out)), " ")
	for line := range strings.Lines(prints) {
		if want := strings.Join(strings.Fields(line), " "); !strings.Contains(got, want) {
			t.Errorf("%sdoes not print %q: %s", text, want, out)
		}
	}
}

// starts starts what goes on, and waits for what it prints.
func (r *reader) starts(t *testing.T, text, prints string) {
	t.Helper()
	printed := newOutput()
	cmd := r.command(t, "exec "+text)
	cmd.Stdout, cmd.Stderr = printed, printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	printed.wait(t, regexp.QuoteMeta(strings.TrimSpace(prints)))
}

// What the pages tell to type are commands and flags that are there.
func TestCommandsOfPages(t *testing.T) {
	typed := regexp.MustCompile(`(?m)(?:^|\s|/)meshnet( [a-z].*)$`)
	for _, page := range []string{"README.md", "docs/own-mesh.md", "examples/deploy/README.md"} {
		n := 0
		text, _ := os.ReadFile(filepath.Join(root, page))
		for _, code := range append(blocks(t, page), indented(string(text))) {
			if strings.HasPrefix(code.kind, "go") || code.kind == "text" {
				continue
			}
			for _, match := range typed.FindAllStringSubmatch(code.text, -1) {
				checkTyped(t, page, shellWords(strings.TrimSpace(match[1])))
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s shows no command", page)
		}
	}
}

// indented returns the lines of a page that are code by their indentation.
func indented(text string) block {
	return block{text: strings.Join(regexp.MustCompile(`(?m)^    .*$`).FindAllString(text, -1), "\n")}
}

func checkTyped(t *testing.T, page string, words []string) {
	t.Helper()
	c, _, rest := find(commands(), words)
	if c == nil || c.make == nil {
		t.Errorf("%s: there is no command meshnet %q", page, words)
		return
	}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c.make().addFlags(fs)
	for _, word := range rest {
		name, isFlag := strings.CutPrefix(word, "-")
		if isFlag && fs.Lookup(name) == nil {
			t.Errorf("%s: meshnet %q: there is no flag %s", page, words, word)
		}
	}
}
