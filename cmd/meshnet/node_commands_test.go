package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
)

// here is a node that meshnet up runs, and a peer of it that serves a web page.
type here struct {
	*mesh
	state string
	up    *program
	peer  *meshnet.Server
}

func newHere(t *testing.T, flags ...string) *here {
	t.Helper()
	h := &here{mesh: newMesh(t), state: t.TempDir()}
	h.peer = h.node(t, "hello")
	ln, err := h.peer.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go web.Serve(ln)
	t.Cleanup(func() { web.Close() })
	h.up = start(t, h.env(), append([]string{"up", "-state", h.state}, flags...)...)
	h.up.stdout.wait(t, `\n`)
	return h
}

// ask runs a command about the node, and returns what it prints.
func (h *here) ask(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, errs, code := h.run(t, stdin, args...)
	if code != exitOK {
		t.Fatalf("meshnet %q ends with %d: %s", args, code, errs)
	}
	return out
}

func (h *here) run(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	out, errs := newOutput(), newOutput()
	code = run(testCtx(t), world{variables{"MESHNET_STATE": h.state}.get, strings.NewReader(stdin), out, errs}, args)
	return out.String(), errs.String(), code
}

func wantMatch(t *testing.T, what, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("%s: it does not match %s:\n%s", what, pattern, text)
	}
}

func unmarshal[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return v
}

func TestUp(t *testing.T) {
	h := newHere(t)
	wantMatch(t, "what up prints", h.up.stdout.String(), `^gate\.\S+ is up: 100\.\S+, fd7a:\S+\n$`)
	info, err := os.Stat(filepath.Join(h.state, nodeSocket))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v", info.Mode())
	}
	second := start(t, h.env(), "up", "-state", h.state)
	second.ends(t, "the directory is in use", exitFailed, "another node runs with the directory")
	h.up.interrupt()
	h.up.ends(t, "it is interrupted", exitOK)
	if _, _, code := h.run(t, "", "status"); code != exitFailed {
		t.Errorf("without a node status ends with %d", code)
	}
}

func TestUpInJSON(t *testing.T) {
	h := newHere(t, "-json")
	s := unmarshal[nodeStatus](t, h.up.stdout.String())
	if s.State != meshnet.StateRunning || len(s.Self.Addresses) != 2 {
		t.Errorf("up -json prints %+v", s)
	}
}

func TestUpSaysWhereToSignIn(t *testing.T) {
	m := newMesh(t)
	env := m.env()
	delete(env, "MESHNET_AUTHKEY")
	state := t.TempDir()
	p := start(t, env, "up", "-state", state, "-json")
	p.stdout.wait(t, `"AuthURL": "http://\S+"`)
	h := &here{mesh: m, state: state}
	wantMatch(t, "its status", h.ask(t, "", "status"), `waits for a person to let it in: sign in at http://`)
	p.interrupt()
	p.ends(t, "it is interrupted", exitOK)
}

func TestStatus(t *testing.T) {
	h := newHere(t)
	h.ask(t, "", "ping", "hello")
	text := h.ask(t, "", "status")
	wantMatch(t, "status", text, `^gate\.\S+ is up: 100\.`)
	wantMatch(t, "its peer", text, `(?m)^NAME +ADDRESS +OWNER +STATE +PATH`)
	wantMatch(t, "its peer", text, `(?m)^hello +100\.\S+ +\S+ +online +(direct|relay) \S+`)
	s := unmarshal[nodeStatus](t, h.ask(t, "", "status", "-json"))
	if len(s.Peers) != 1 || s.Peers[0].Name != "hello."+s.Domain || s.Peers[0].Direct+s.Peers[0].Relay == "" {
		t.Errorf("status -json prints %+v", s)
	}
}

func TestPingCommand(t *testing.T) {
	h := newHere(t)
	ip4, ip6 := h.peer.IPs()
	for _, kind := range []string{"disco", "tsmp", "icmp"} {
		for _, node := range []string{"hello", "hello.mesh.internal.", ip4.String(), ip6.String()} {
			text := h.ask(t, "", "ping", "-kind", kind, "-count", "1", node)
			wantMatch(t, kind+" ping of "+node, text, `^`+kind+` answer of hello\.\S+ \(\S+\) by (relay )?\S+ in \S+s\n$`)
		}
	}
	h.ask(t, "", "ping", "-interval", "10ms", "-count", "0", "hello") // until it is direct
	pong := unmarshal[shownPong](t, h.ask(t, "", "ping", "-json", "hello"))
	if pong.Name != "hello.mesh.internal" || pong.Latency <= 0 || pong.Direct == "" {
		t.Errorf("ping -json prints %+v", pong)
	}
	if _, errs, code := h.run(t, "", "ping", "nobody"); code != exitFailed || !strings.Contains(errs, "meshnet status lists") {
		t.Errorf("a ping of nobody ends with %d: %s", code, errs)
	}
	away := &meshnet.Server{Hostname: "away", ControlURL: h.url, AuthKey: h.authKey, Store: meshnet.NewMemoryStore()}
	status, err := away.Up(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	away.Close()
	ip4 = status.Self.Addresses[0]
	_, errs, code := h.run(t, "", "ping", "-count", "2", "-interval", "1ms", "-timeout", "50ms", ip4.String())
	if code != exitFailed || !strings.Contains(errs, "no answer from") {
		t.Errorf("a ping of one who has gone ends with %d: %s", code, errs)
	}
	if _, _, code := h.run(t, "", "ping", "-kind", "smoke", "hello"); code != exitUsage {
		t.Errorf("a ping of no kind ends with %d", code)
	}
}

func TestNetcheckCommand(t *testing.T) {
	h := newHere(t)
	text := h.ask(t, "", "netcheck")
	wantMatch(t, "netcheck", text, `(?m)^UDP +\S+`)
	wantMatch(t, "netcheck", text, `(?m)^Home relay +test`)
	wantMatch(t, "netcheck", text, `(?m)^Relays +(\S+s|not measured) +test`)
	if n := unmarshal[meshnet.Netcheck](t, h.ask(t, "", "netcheck", "-json")); n.Home != "test" {
		t.Errorf("netcheck -json prints %+v", n)
	}
}

func TestWhoisCommand(t *testing.T) {
	h := newHere(t)
	ip4, _ := h.peer.IPs()
	for _, who := range []string{"hello", ip4.String(), ip4.String() + ":1234"} {
		text := h.ask(t, "", "whois", who)
		wantMatch(t, "whois "+who, text, `(?m)^Node +hello\.`)
		wantMatch(t, "whois "+who, text, `(?m)^Addresses +100\.\S+, fd7a:`)
	}
	who := unmarshal[shownWhoIs](t, h.ask(t, "", "whois", "-json", "hello"))
	if who.Node.Name != "hello.mesh.internal" || who.User.LoginName == "" {
		t.Errorf("whois -json prints %+v", who)
	}
	if _, _, code := h.run(t, "", "whois", "192.0.2.1"); code != exitFailed {
		t.Error("whois of a stranger is no failure")
	}
}

func TestNC(t *testing.T) {
	h := newHere(t)
	const request = "GET / HTTP/1.0\r\n\r\n"
	wantMatch(t, "a page", h.ask(t, request, "nc", "hello", "80"), `(?s)^HTTP/1.0 200 OK.*hello$`)
	if _, errs, code := h.run(t, "", "nc", "hello", "81"); code != exitFailed || !strings.Contains(errs, "refused") {
		t.Errorf("a port where nobody listens ends with %d: %s", code, errs)
	}
	if _, errs, code := h.run(t, "", "nc", "nobody", "81"); code != exitFailed || errs == "" {
		t.Errorf("a node that is not there ends with %d: %s", code, errs)
	}
}

func TestNCAccepts(t *testing.T) {
	h := newHere(t)
	waiting := make(chan string, 1)
	go func() {
		out := newOutput()
		run(testCtx(t), world{variables{"MESHNET_STATE": h.state}.get, strings.NewReader("and back"), out, io.Discard}, []string{"nc", "-accept", "5000"})
		waiting <- out.String()
	}()
	conn := dialUntil(t, h.peer, "gate:5000")
	defer conn.Close()
	io.WriteString(conn, "there")
	conn.(interface{ CloseWrite() error }).CloseWrite()
	back, err := io.ReadAll(conn)
	if err != nil || string(back) != "and back" {
		t.Errorf("nc sends %q, %v", back, err)
	}
	if got := <-waiting; got != "there" {
		t.Errorf("nc prints %q", got)
	}
}

// dialUntil dials until somebody listens.
func dialUntil(t *testing.T, from *meshnet.Server, addr string) io.ReadWriteCloser {
	t.Helper()
	for ctx := testCtx(t); ; {
		conn, err := from.Dial(ctx, "tcp", addr)
		if err == nil {
			return conn
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestNCOfAPair(t *testing.T) {
	m := newMesh(t)
	file := filepath.Join(t.TempDir(), "relay.json")
	text, err := json.Marshal(m.region)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("what the file has\n", 10000)
	host := &program{newOutput(), newOutput(), nil, make(chan int, 1)}
	go func() {
		host.code <- run(testCtx(t), world{variables{}.get, strings.NewReader(content), host.stdout, host.stderr}, []string{"nc", "-relay", file})
	}()
	host.stderr.wait(t, `meshpair\S+\n`)
	token := regexp.MustCompile(`meshpair\S+`).FindString(host.stderr.String())
	out, errs := newOutput(), newOutput()
	if code := run(testCtx(t), world{variables{}.get, strings.NewReader("thanks"), out, errs}, []string{"nc", token}); code != exitOK || out.String() != content {
		t.Errorf("the guest ends with %d and has %d bytes of %d: %s", code, len(out.String()), len(content), errs)
	}
	host.ends(t, "the file is sent", exitOK)
	if got := host.stdout.String(); got != "thanks" {
		t.Errorf("the host prints %q", got)
	}
	h := &here{mesh: m, state: t.TempDir()}
	if _, _, code := h.run(t, "", "nc", token[:40]); code != exitUsage {
		t.Errorf("a damaged token ends with %d", code)
	}
}

// Without a node commands say how to start one.
func TestNoNodeRuns(t *testing.T) {
	h := &here{state: t.TempDir()}
	for _, args := range [][]string{{"status"}, {"ping", "hello"}, {"netcheck"}, {"whois", "hello"}, {"nc", "hello", "80"}} {
		if _, errs, code := h.run(t, "", args...); code != exitFailed || !strings.Contains(errs, "meshnet up") {
			t.Errorf("meshnet %q ends with %d: %s", args, code, errs)
		}
	}
}

// Without -state commands find the one node that runs.
func TestTheNodeIsFound(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", os.Getenv("XDG_CONFIG_HOME"))
	m := newMesh(t)
	env := m.env()
	delete(env, "MESHNET_EPHEMERAL")
	var up []*program
	status := func() (string, int) {
		out, errs := newOutput(), newOutput()
		code := run(context.Background(), world{variables{}.get, strings.NewReader(""), out, errs}, []string{"status"})
		return out.String() + errs.String(), code
	}
	for i, want := range []string{`no node runs: start one with meshnet up`, `is up`, `several nodes run: say which with -state`} {
		text, code := status()
		wantMatch(t, "status", text, want)
		if (code == exitOK) != (i == 1) {
			t.Errorf("with %d nodes status ends with %d", i, code)
		}
		env["MESHNET_HOSTNAME"] = []string{"one", "two", "three"}[i]
		p := start(t, env, "up")
		p.stdout.wait(t, `is up`)
		up = append(up, p)
	}
	for _, p := range up {
		p.interrupt()
		p.ends(t, "it is interrupted", exitOK)
	}
}
