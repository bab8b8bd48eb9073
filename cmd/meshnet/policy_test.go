package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodPolicy = `{
	// everybody may reach the web
	"acls": [{"action": "accept", "src": ["*"], "dst": ["*:80"]}],
	"tests": [{"src": "100.64.0.1", "accept": ["100.64.0.2:80"], "deny": ["100.64.0.2:81"]}],
}
`

func TestPolicy(t *testing.T) {
	h := host(t, shortDir(t))
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	h.says(t, []string{"there is no policy"}, "policy")
	h.says(t, []string{"In force: a policy"}, "policy", "set", write(goodPolicy))
	if text := h.admin(t, "policy", "get"); text != goodPolicy {
		t.Errorf("the policy is printed as %s", text)
	}

	typo := write(strings.Replace(goodPolicy, `"accept"`, `"acept"`, 1))
	failing := write(strings.Replace(goodPolicy, ":81", ":80", 1))
	h.refuses(t, exitFailed, typo+":3:", "policy", "set", typo)
	h.refuses(t, exitFailed, failing+":4:", "policy", "set", failing)
	h.refuses(t, exitFailed, "no such file", "policy", "set", "/nowhere")
	h.refuses(t, exitFailed, "meshnet policy reset", "policy", "set", os.DevNull)
	if text := h.admin(t, "policy", "get"); text != goodPolicy {
		t.Errorf("a policy that is refused leaves %s", text)
	}

	if p := decodes[shownPolicy](t, h, "policy", "reset"); p.Text != "" || !strings.Contains(p.InForce, "every node") {
		t.Errorf("without a policy: %+v", p)
	}
	if p := decodes[shownPolicy](t, h, "policy", "get"); p.Text != "" {
		t.Errorf("without a policy: %+v", p)
	}
}

// A policy is checked without a coordinator.
func TestPolicyCheck(t *testing.T) {
	check := func(code int, text string, args ...string) string {
		stdout, stderr := newOutput(), newOutput()
		w := world{variables{}.get, strings.NewReader(text), stdout, stderr}
		if got := run(testCtx(t), w, append([]string{"policy", "check", "-"}, args...)); got != code {
			t.Errorf("%q ends with %d: %s%s", text, got, stdout, stderr)
		}
		return stdout.String() + stderr.String()
	}
	if text := check(exitOK, goodPolicy); !strings.Contains(text, "no mistakes") {
		t.Errorf("a good policy: %s", text)
	}
	if text := check(exitOK, goodPolicy, "-json"); text != "[]\n" {
		t.Errorf("a good policy in JSON: %s", text)
	}
	bad := "{\n \"acls\": [{\"action\": \"accept\", \"src\": [\"group:a\"], \"dst\": [\"tag:b:1\"]}]}"
	if text := check(exitFailed, bad); strings.Count(text, "\n-:2:") != 2 {
		t.Errorf("both mistakes, with their places: %s", text)
	}
	if text := check(exitFailed, bad, "-json"); !strings.Contains(text, `"Line": 2`) {
		t.Errorf("mistakes in JSON: %s", text)
	}
}
