package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
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

// testCtx bounds what a test waits for; no test takes nearly that long.
func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A mesh is a coordinator and a relay on loopback.
type mesh struct {
	url, authKey string
	coord        *coord.Server
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	relay := derp.NewServer(derp.ServerConfig{})
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	relayServer := httptest.NewUnstartedServer(relay)
	relayServer.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	relayServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	relayServer.StartTLS()
	coordinator, err := coord.New(coord.Config{DERPMap: &derpmap.Map{OmitDefaultRegions: true, Regions: map[int]*derpmap.Region{900: {
		RegionID: 900, RegionCode: "test",
		Nodes: []*derpmap.Node{{
			Name: "900a", RegionID: 900, HostName: "127.0.0.1", CertName: certName, STUNPort: -1,
			DERPPort: relayServer.Listener.Addr().(*net.TCPAddr).Port,
		}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	control := httptest.NewServer(coordinator)
	t.Cleanup(func() {
		coordinator.Close()
		control.Close()
		relay.Close()
		relayServer.Close()
	})
	m := &mesh{url: control.URL, coord: coordinator}
	if m.authKey, err = coordinator.CreateAuthKey(coord.AuthKeyOptions{Reusable: true}); err != nil {
		t.Fatal(err)
	}
	return m
}

// node returns a node of the mesh that is up.
func (m *mesh) node(t *testing.T, name string) *meshnet.Server {
	t.Helper()
	node := &meshnet.Server{Hostname: name, ControlURL: m.url, AuthKey: m.authKey, Ephemeral: true}
	t.Cleanup(func() { node.Close() })
	if _, err := node.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return node
}

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
		p.code <- run(ctx, args, env.get, p.stdout, p.stderr)
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
		code := run(t.Context(), tt.args, tt.env.get, stdout, stderr)
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
	if code := run(t.Context(), []string{"proxy", "-h"}, env, stdout, stdout); code != 0 || strings.Contains(stdout.String(), secret) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	env := variables{
		"MESHNET_CONTROL":        "https://env.example.com",
		"MESHNET_HOSTNAME":       "of-env",
		"MESHNET_LISTEN":         "127.0.0.1:1, [::1]:1",
		"MESHNET_FORWARD":        "1=a,2=b",
		"MESHNET_PROXY_PASSWORD": "of env",
		"MESHNET_GRACE":          "3s",
	}
	args := []string{"-control", "https://args.example.com", "-forward", "3=c", "-forward", "4=d:5", "-tags", "tag:a, tag:b"}
	c, err := parseProxy(world{env.get, io.Discard, io.Discard}, args)
	if err != nil {
		t.Fatal(err)
	}
	if c.node.control != "https://args.example.com" || c.node.hostname != "of-env" || c.grace != 3*time.Second ||
		c.password != "of env" || c.user != defaultUser {
		t.Errorf("got %+v", c)
	}
	if want := []string{"127.0.0.1:1", "[::1]:1"}; !slices.Equal(c.listen.values, want) {
		t.Errorf("listens on %q, want %q", c.listen.values, want)
	}
	if want := []forward{{"127.0.0.1:3", "c:3"}, {"127.0.0.1:4", "d:5"}}; !slices.Equal(c.forwards.values, want) {
		t.Errorf("forwards %v, want %v", c.forwards.values, want)
	}
	if want := []string{"tag:a", "tag:b"}; !slices.Equal(c.node.tags.values, want) {
		t.Errorf("tags %q, want %q", c.node.tags.values, want)
	}
	c, err = parseProxy(world{variables{}.get, io.Discard, io.Discard}, nil)
	if want := []string{"127.0.0.1:1080"}; err != nil || !slices.Equal(c.listen.values, want) {
		t.Errorf("without flags it listens on %q, %v", c.listen.values, err)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	file := t.TempDir() + "/secret"
	if err := os.WriteFile(file, []byte(" of the file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := world{variables{"NAME": "of the variable"}.get, io.Discard, io.Discard}
	if got, err := secret(w, file, "flag", "NAME"); got != " of the file" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := secret(w, "", "flag", "NAME"); got != "of the variable" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStateIsOneNodesAlone(t *testing.T) {
	configs := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", configs)
	t.Setenv("HOME", configs)
	t.Setenv("AppData", configs)
	w := world{variables{}.get, io.Discard, io.Discard}
	for _, tt := range []struct {
		config nodeConfig
		want   string // end of the directory
	}{
		{nodeConfig{hostname: "a"}, "/meshnet/a"},
		{nodeConfig{hostname: "a", state: "/b"}, "/b"},
		{nodeConfig{hostname: "a", ephemeral: true}, ""},
		{nodeConfig{hostname: "a", state: "/b", ephemeral: true}, "/b"},
	} {
		tt.config.control = "https://mesh.example.com"
		srv, err := tt.config.server(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		if dir := strings.ReplaceAll(srv.Dir, `\`, "/"); !strings.HasSuffix(dir, tt.want) || (dir == "") != (tt.want == "") {
			t.Errorf("%+v: the state is in %q, want %q", tt.config, dir, tt.want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	c := &nodeConfig{control: "https://mesh.example.com", state: "/state"}
	other := errors.New("other")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&meshnet.RefusedError{Reason: "key used up"}, "key used up; if it is about the auth key, give a new one"},
		{&meshnet.RefusedError{Reason: "key used up", Expired: true}, "give a new auth key"},
		{&meshnet.NeedsLoginError{URL: "https://login"}, "sign in at https://login"},
		{meshnet.ErrControlKeyChanged, "remove /state/control.key"},
		{meshnet.ErrTailnetLock, "-allow-unsigned-peers"},
		{other, "other"},
	} {
		if got := c.explain(tt.err).Error(); !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q does not say %q", tt.err, got, tt.want)
		}
	}
}
