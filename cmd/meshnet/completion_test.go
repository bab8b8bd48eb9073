package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completed returns what may stand in place of the last word.
func completed(t *testing.T, env variables, words ...string) []string {
	t.Helper()
	stdout := newOutput()
	w := world{env.get, strings.NewReader(""), stdout, stdout}
	if code := run(testCtx(t), w, append([]string{"completion", "fish", "--"}, words...)); code != exitOK {
		t.Fatalf("%q: exit code %d: %s", words, code, stdout)
	}
	var found []string
	for line := range strings.Lines(stdout.String()) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		found = append(found, word)
	}
	return found
}

func TestCompletion(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  string // those that are there, or with "!" not
	}{
		{[]string{""}, "coord nodes relay help !list"},
		{[]string{"no"}, "nodes !coord"},
		{[]string{"help", "no"}, "nodes"},
		{[]string{"nodes", ""}, "list rename remove !coord"},
		{[]string{"nodes", "re"}, "rename remove renew reject !list"},
		{[]string{"nodes", "rename", "-"}, "-dir -json !-user"},
		{[]string{"nodes", "rename", "--d"}, "--dir !--json"},
		{[]string{"authkey", "-reusable", "-e"}, "-ephemeral -expiry !-reusable"},
		{[]string{"authkey", "-dir", ""}, "!list"}, // a file
		{[]string{"authkey", "-reusable", ""}, "!list"},
		{[]string{"completion", ""}, "bash zsh fish"},
		{[]string{"nowhere", ""}, "!coord"},
		{[]string{"nodes", "nowhere", ""}, "!list"},
		{[]string{"coord", "-nowhere", "-"}, "-dir -listen"},
	} {
		got := completed(t, nil, tt.words...)
		for _, want := range strings.Fields(tt.want) {
			word, not := strings.CutPrefix(want, "!")
			if slices.Contains(got, word) == not {
				t.Errorf("behind %q, %q: %q", tt.words, want, got)
			}
		}
	}
}

// What a coordinator knows is completed, too.
func TestCompletionOfNames(t *testing.T) {
	h := host(t, shortDir(t))
	h.join(t, "web", h.authKey(t))
	h.join(t, "laptop", h.authKey(t))
	h.admin(t, "users", "add", "ann")
	for _, tt := range []struct{ line, want string }{
		{"nodes rename -dir DIR w", "web"},
		{"nodes remove -dir=DIR web ", "laptop web"},
		{"nodes rename -dir DIR web ", ""},
		{"nodes give -dir DIR web a", "ann"},
		{"routes approve -json -dir DIR l", "laptop"},
	} {
		words := strings.Split(strings.ReplaceAll(tt.line, "DIR", h.dir), " ")
		got := completed(t, nil, words...)
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
	if got := completed(t, variables{"MESHNET_DIR": h.dir}, "nodes", "rename", "l"); len(got) != 1 {
		t.Errorf("with the directory in the environment: %q", got)
	}
	if got := completed(t, variables{"HOME": filepath.Dir(h.dir)}, "nodes", "rename", "-dir", "~/"+filepath.Base(h.dir), "l"); len(got) != 1 {
		t.Errorf("with the directory in ~: %q", got)
	}
	if got := completed(t, nil, "nodes", "rename", "-dir", t.TempDir(), ""); len(got) != 0 {
		t.Errorf("without a coordinator: %q", got)
	}
}

func TestCompletionIsHarmless(t *testing.T) {
	for word, want := range map[string]bool{"web": true, "ann@example.com": true, "-dir": true, "$(x)": false, "a b": false, "a\nb": false, "`x`": false} {
		if harmless(word) != want {
			t.Errorf("%q is harmless: %v", word, !want)
		}
	}
	if got := (suggested{"a:b", "one\x1b[0m: two; three"}).line("zsh"); got != `a\:b:one[0m: two` {
		t.Errorf("zsh is told %q", got)
	}
	if got := (suggested{"a", "one"}).line("fish"); got != "a\tone" {
		t.Errorf("fish is told %q", got)
	}
}

// installed makes this program meshnet, for a shell of that name.
func installed(t *testing.T, shell string) (run func(script string, args ...string) string) {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("there is no %s", shell)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meshnet"), []byte("#!/bin/sh\nexec "+os.Args[0]+` "$@"`+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(script string, args ...string) string {
		cmd := exec.CommandContext(testCtx(t), path, append([]string{"-c", script, shell}, args...)...)
		cmd.Env = append(os.Environ(), beMeshnet+"=1", "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", shell, err, out)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
}

func TestShellWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            {""},
		"meshnet":                     {"meshnet"},
		"meshnet  nodes ":             {"meshnet", "nodes", ""},
		`meshnet -dir "my mesh" ren`:  {"meshnet", "-dir", "my mesh", "ren"},
		`meshnet -dir my\ mesh/'a"b'`: {"meshnet", "-dir", `my mesh/a"b`},
		`meshnet "" 'open \`:          {"meshnet", "", `open \`},
		`meshnet x\`:                  {"meshnet", "x"},
	} {
		if got := shellWords(line); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestCompletionInBash(t *testing.T) {
	h := host(t, shortDir(t))
	h.admin(t, "users", "add", "ann@example.com")
	var lines, want []string
	for _, tt := range [][2]string{
		{"meshnet nodes ren", "rename renew"},
		{"meshnet policy check ", ""}, // files
		{"meshnet coord -listen 127.0.0.1:8080 -no-r", "-no-relay"},
		{"meshnet relay 'st$(echo a b) &", ""},
		{"meshnet nodes give -dir '" + h.dir + "' 1 an", "ann@example.com"},
		{"meshnet users remove -dir=" + h.dir + " ann@", "example.com"}, // bash keeps what stands before
	} {
		lines = append(lines, tt[0])
		want = append(want, tt[0], tt[1])
	}
	bash := installed(t, "bash")
	got := strings.Split(bash(`set -eu
source <(meshnet completion bash)
complete -p meshnet >/dev/null
for COMP_LINE; do
	COMP_POINT=${#COMP_LINE}
	_meshnet meshnet
	echo "$COMP_LINE"
	echo "${COMPREPLY[@]:-}"
done`, lines...), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("lines and what completes them: %q, want %q", got, want)
	}
}

func TestCompletionInZsh(t *testing.T) {
	zsh := installed(t, "zsh")
	got := zsh(`autoload -U compinit && compinit -u; source <(meshnet completion zsh)
_describe() { print -l -- ${(P)2} }
words=(meshnet policy ''); CURRENT=3; _meshnet`)
	if want := "get:print the policy\nset:check a policy, and put it in force\nreset:let every node reach every other again\ncheck:check a policy, with the tests in it"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCompletionInFish(t *testing.T) {
	fish := installed(t, "fish")
	got := fish(`meshnet completion fish | source; complete -C 'meshnet nodes ren'`)
	if !strings.Contains(got, "rename\t") || !strings.Contains(got, "renew\t") || strings.Contains(got, "list") {
		t.Errorf("%q", got)
	}
}
