package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

// maxEdits is how many lines of a program may change.
const maxEdits = 5

// edits are the rows of the README's table of them: what stands in a program of
// tsnet, and what in one of meshnet.
func edits(t *testing.T) (rows [][2]string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	check(t, "the README is read", err)
	_, section, ok := strings.Cut(string(text), "\n## Coming from tsnet\n")
	equal(t, "that there is a section", ok, true)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `(.+)` \\| `(.+)` \\|$").FindAllStringSubmatch(section, -1) {
		rows = append(rows, [2]string{row[1], row[2]})
	}
	equal(t, "that there are rows", len(rows) > 0, true)
	return rows
}

// port makes a program of tsnet one of meshnet, by edits of its lines, and returns
// how many changed.
func port(t *testing.T, source string, n *ownTailnet) (ported string, changed int) {
	t.Helper()
	values := strings.NewReplacer(
		": control,", ": "+strconv.Quote(n.controlURL)+",",
		": authKey,", ": "+strconv.Quote(n.newAuthKey(t, coord.AuthKeyOptions{}))+",",
		": dir}", ": "+strconv.Quote(t.TempDir())+"}",
	)
	lines := strings.SplitAfter(source, "\n")
	for i, line := range lines {
		for _, edit := range edits(t) {
			line = strings.ReplaceAll(line, edit[0], values.Replace(edit[1]))
		}
		if line != lines[i] {
			lines[i] = line
			changed++
		}
	}
	return strings.Join(lines, ""), changed
}

// portedProgram builds one of tsnet's examples, ported, as a package of ours.
func portedProgram(t *testing.T, n *ownTailnet, name string) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "tailscale.com").Output()
	check(t, "tsnet's module is found", err)
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "tsnet", "example", name, name+".go"))
	check(t, "the example is read", err)
	ported, changed := port(t, string(source), n)
	if changed == 0 || changed > maxEdits {
		t.Fatalf("%d lines of %s change, more than %d, or none", changed, name, maxEdits)
	}
	t.Logf("%s: %d lines", name, changed)

	temp := t.TempDir()
	file := filepath.Join(temp, "main.go")
	check(t, "the port is written", os.WriteFile(file, []byte(ported), 0o600))
	root, err := filepath.Abs("..")
	check(t, "the repository is found", err)
	place := filepath.Join(root, "examples", "ported", name) // which is not there
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(place, "main.go"): file}})
	check(t, "the build is described", err)
	check(t, "and that written", os.WriteFile(filepath.Join(temp, "overlay.json"), overlay, 0o600))
	program := filepath.Join(temp, name)
	build := exec.Command("go", "build", "-overlay", filepath.Join(temp, "overlay.json"), "-o", program, "./examples/ported/"+name)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the port does not build: %v\n%s", err, out)
	}
	return program
}

// runPorted runs a program until the end of the test.
func runPorted(t *testing.T, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := command(ctx, nil, program, args...)
	out := newLog(t, filepath.Base(program))
	cmd.Stdout, cmd.Stderr = out, out
	check(t, "the program starts", cmd.Start())
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
}

// A program that greets who calls, over HTTP and over HTTPS.
func TestPortOfTshello(t *testing.T) {
	for _, scheme := range []struct{ name, addr string }{{"http", ":80"}, {"https", ":443"}} {
		t.Run(scheme.name, func(t *testing.T) {
			n := ourTailnet(t)
			visitor := n.startMeshnet(t, "visitor")
			runPorted(t, portedProgram(t, n, "tshello"), "-addr", scheme.addr)
			client := visitor.HTTPClient()
			t.Cleanup(client.CloseIdleConnections)
			eventually(t, "it greets", func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, "GET", scheme.name+"://tshello/", nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				page, err := io.ReadAll(resp.Body)
				if err == nil && !strings.Contains(string(page), "from <b>visitor</b>") {
					err = fmt.Errorf("it says %q", page)
				}
				return err
			})
		})
	}
}

// A program that prints a page.
func TestPortOfTsnetHTTPClient(t *testing.T) {
	n := ourTailnet(t)
	web := n.startMeshnet(t, "web")
	ln, err := web.Listen("tcp", ":80")
	check(t, "a server listens", err)
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "this is the page") }))
	r, err := run(command(within(t, 30*time.Second), nil, portedProgram(t, n, "tsnet-http-client"), "http://web/"))
	check(t, "the program ends", err)
	equal(t, "its exit code", r.exit, 0)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(r.stdout)), nil)
	check(t, "it prints an answer", err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	check(t, "the answer is whole", err)
	equal(t, "the page", string(page), "this is the page")
}
