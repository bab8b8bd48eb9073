package main

import (
	"os"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/internal/leak"
)

// beMeshnet makes the test program the command itself, for tests that send
// signals.
const beMeshnet = "MESHNET_TEST_BE_MESHNET"

func TestMain(m *testing.M) {
	if os.Getenv(beMeshnet) != "" {
		main()
	}
	leak.Main(m)
}

func TestUsage(t *testing.T) {
	const control = "-control=https://mesh.example.com"
	for _, tt := range []struct {
		args []string
		env  variables
		code int
		text string // part of what is printed
	}{
		{nil, nil, 2, "meshnet proxy "},
		{[]string{"help"}, nil, 0, "meshnet proxy "},
		{[]string{"-h"}, nil, 0, "meshnet proxy "},
		{[]string{"prox"}, nil, 2, `no command "prox"`},
		{[]string{"cord"}, nil, 2, `did you mean "coord"?`},
		{[]string{"nodse"}, nil, 2, `did you mean "nodes"?`},
		{[]string{"nodes", "remofe", "web"}, nil, 2, `did you mean "nodes remove"?`},
		{[]string{"nodes", "frobnicate"}, nil, 2, "meshnet help nodes lists them"},
		{[]string{"proxy", "-h"}, nil, 0, "-forward LOCAL=TARGET"},
		{[]string{"proxy", "--help"}, nil, 0, "Examples:"},
		{[]string{"proxy"}, nil, 2, "-control is missing"},
		{[]string{"proxy", "-what"}, nil, 2, "-what"},
		{[]string{"proxy", control, "more"}, nil, 2, `"more"`},
		{[]string{"proxy", "-control", "mesh.example.com"}, nil, 2, "-control"},
		{[]string{"proxy", "-control", "https://mesh.example.com/path"}, nil, 2, "-control"},
		{[]string{"proxy"}, variables{"MESHNET_CONTROL": "x"}, 2, "MESHNET_CONTROL"},
		{[]string{"proxy", control, "-control-key", "mkey:12"}, nil, 2, "-control-key"},
		{[]string{"proxy", control, "-hostname", "../up"}, nil, 2, "-hostname"},
		{[]string{"proxy", control, "-tags", "tag:a,b"}, nil, 2, "-tags"},
		{[]string{"proxy", control, "-log-format", "xml"}, nil, 2, "-log-format"},
		{[]string{"proxy", control, "-grace", "long"}, nil, 2, "-grace"},
		{[]string{"proxy", control}, variables{"MESHNET_EPHEMERAL": "perhaps"}, 2, "MESHNET_EPHEMERAL"},
		{[]string{"proxy", control, "-authkey-file", "/does/not/exist"}, nil, 2, "-authkey-file"},
		{[]string{"proxy", control, "-password-file", "/dev/null"}, nil, 2, "-password-file"},
		{[]string{"proxy", control, "-user", "ann"}, nil, 2, "-user"},
		{[]string{"proxy", control, "-user", "a:b"}, variables{"MESHNET_PROXY_PASSWORD": "secret"}, 2, "-user"},
		{[]string{"proxy", control}, variables{"MESHNET_PROXY_PASSWORD": strings.Repeat("x", 256)}, 2, "password"},
		{[]string{"proxy", control, "-listen", "1.2.3.4"}, nil, 2, "-listen"},
		{[]string{"proxy", control, "-listen", ""}, nil, 2, "-listen"},
		{[]string{"proxy", control, "-forward", "5432"}, nil, 2, "-forward"},
		{[]string{"proxy", control}, variables{"MESHNET_FORWARD": "1=a,2=b:"}, 2, "MESHNET_FORWARD"},
		{[]string{"proxy", control, "-expose", "0=1"}, nil, 2, "-expose"},
		{[]string{"proxy", control, "-expose", "80=1", "-expose", "80=2"}, nil, 2, "-expose has port 80 twice"},
	} {
		stdout, stderr := newOutput(), newOutput()
		code := run(t.Context(), world{tt.env.get, nil, stdout, stderr}, tt.args)
		printed, silent := stderr.String(), stdout.String()
		if tt.code == 0 {
			printed, silent = silent, printed
		}
		if code != tt.code || !strings.Contains(printed, tt.text) || silent != "" {
			t.Errorf("%q, %q: exit code %d, want %d; want %q: %s\n%s", tt.args, tt.env, code, tt.code, tt.text, printed, silent)
		}
		if tt.code == 2 && len(tt.args) > 0 && strings.Count(printed, "\n") != 1 {
			t.Errorf("%q: the error is not one line: %s", tt.args, printed)
		}
	}
}

func TestHelpShowsNoSecrets(t *testing.T) {
	const secret = "nobody may see this"
	stdout := newOutput()
	env := func(string) string { return secret }
	if code := run(t.Context(), world{env, nil, stdout, stdout}, []string{"proxy", "-h"}); code != 0 || strings.Contains(stdout.String(), secret) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}
