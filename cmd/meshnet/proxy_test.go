package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
)

const anyPort = "127.0.0.1:0"

// web serves a page on port 80 of a node. The second half of the page /slow
// comes when release is closed.
func web(t *testing.T, node *meshnet.Server) (release chan struct{}) {
	t.Helper()
	ln, err := node.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	release = make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "on the mesh") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first half, ")
		http.NewResponseController(w).Flush()
		select {
		case <-release:
			io.WriteString(w, "second half")
		case <-r.Context().Done():
		}
	})
	server := &http.Server{Handler: mux}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return release
}

// get fetches a page through a proxy, or without one, and returns the response
// with its body still to be read.
func get(t *testing.T, page string, proxy *url.URL) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	request, err := http.NewRequestWithContext(testCtx(t), "GET", page, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s through %v: %v", page, proxy, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func fetch(t *testing.T, page string, proxy *url.URL) string {
	t.Helper()
	text, err := io.ReadAll(get(t, page, proxy).Body)
	if err != nil {
		t.Fatalf("%s through %v: %v", page, proxy, err)
	}
	return string(text)
}

func TestProxyReachesTheMeshByName(t *testing.T) {
	m := newMesh(t)
	web(t, m.node(t, "web"))
	p := m.proxy(t, m.env(), "-listen", anyPort)
	addr := p.stderr.wait(t, `proxy on (\S+:\d+)`)
	for _, scheme := range []string{"http", "socks5"} {
		if got := fetch(t, "http://web/", &url.URL{Scheme: scheme, Host: addr}); got != "on the mesh" {
			t.Errorf("%s: got %q", scheme, got)
		}
	}
	mesh, suffix, hosts := values(t, fetch(t, "http://"+addr+"/proxy.pac", nil))
	if mesh != "SOCKS5 "+addr+"; PROXY "+addr || suffix == "" || hosts["web"] != 1 {
		t.Errorf("the PAC file has %q, %q, %v", mesh, suffix, hosts)
	}
	p.interrupt()
	p.ends(t, "a signal", exitOK, "joined the mesh", "gate", "stopped")
	if p.stdout.String() != "" {
		t.Errorf("printed %q", p.stdout)
	}
}

func TestProxyWithPassword(t *testing.T) {
	m := newMesh(t)
	web(t, m.node(t, "web"))
	const password = "correct:horse"
	env := m.env()
	env["MESHNET_PROXY_PASSWORD"] = password
	p := m.proxy(t, env, "-listen", "0.0.0.0:0", "-user", "ann", "-verbose", "-log-format", "json")
	_, port, _ := net.SplitHostPort(p.stderr.wait(t, `proxy on (\S+:\d+)`))
	addr := net.JoinHostPort("127.0.0.1", port)
	for _, scheme := range []string{"http", "socks5"} {
		proxy := &url.URL{Scheme: scheme, Host: addr, User: url.UserPassword("ann", password)}
		if got := fetch(t, "http://web/", proxy); got != "on the mesh" {
			t.Errorf("%s: got %q", scheme, got)
		}
	}
	if got := get(t, "http://web/", &url.URL{Scheme: "http", Host: addr}); got.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("without a password: %s", got.Status)
	}
	if got := get(t, "http://"+addr+"/proxy.pac", nil); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the PAC file without a password: %s", got.Status)
	}
	p.interrupt()
	p.ends(t, "a signal", exitOK)
	for _, secret := range []string{password, m.authKey} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Error("the log has a secret")
		}
	}
}

// answerAtEnd serves connections: what they send comes back when they have sent
// everything.
func answerAtEnd(t *testing.T, ln net.Listener) {
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				c.Write(all)
			}()
		}
	}()
}

// converse sends much on a connection, half-closes it, and wants it back.
func converse(t *testing.T, why string, c net.Conn) {
	t.Helper()
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() {
		c.Write(sent)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%s: %d of %d bytes came back, %v", why, len(got), len(sent), err)
	}
}

func TestForwardsCarryHalfCloses(t *testing.T) {
	m := newMesh(t)
	host, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	answerAtEnd(t, host)
	p := m.proxy(t, m.env(), "-listen", "", "-forward", anyPort+"=peer:7", "-expose", "8080="+host.Addr().String())
	forwarded := p.stderr.wait(t, `forward on (\S+) to peer:7 of the mesh`)
	peer := m.node(t, "peer")
	ln, err := peer.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	answerAtEnd(t, ln)

	c, err := peer.Dial(testCtx(t), "tcp", "gate:8080")
	if err != nil {
		t.Fatal(err)
	}
	converse(t, "-expose", c)
	// The node knows the peer by now, because it has had a connection from it.
	if c, err = net.Dial("tcp", forwarded); err != nil {
		t.Fatal(err)
	}
	converse(t, "-forward", c)
	p.interrupt()
	p.ends(t, "a signal", exitOK, "forward on port 8080 of the mesh to "+host.Addr().String())
}

func TestForwardToNobody(t *testing.T) {
	m := newMesh(t)
	p := m.proxy(t, m.env(), "-listen", "", "-forward", "0=nobody:7")
	c, err := net.Dial("tcp", p.stderr.wait(t, `forward on (\S+)`))
	if err == nil { // otherwise the error came before the connection was used
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client is told %v", err)
	}
	p.stderr.wait(t, `level=WARN msg="cannot reach the target of a forward" target=nobody:7`)
}

func TestRefusesBeforeJoining(t *testing.T) {
	m := newMesh(t)
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why  string
		args []string
		text string
	}{
		{"open to others", []string{"-listen", "0.0.0.0:0"}, "there is no password: set one with -password-file"},
		{"the second is open to others", []string{"-listen", anyPort, "-listen", ":0"}, "there is no password"},
		{"port of the proxy in use", []string{"-listen", taken.Addr().String()}, "-listen: "},
		{"port of a forward in use", []string{"-listen", anyPort, "-forward", taken.Addr().String() + "=db:1"}, "-forward "},
		{"no state", []string{"-listen", anyPort, "-state", filepath.Join(file, "state")}, "state directory"},
	} {
		p := start(t, m.env(), append([]string{"proxy"}, tt.args...)...)
		p.ends(t, tt.why, exitFailed, "meshnet proxy: ", tt.text)
	}
	if n := len(m.coord.Nodes()); n > 0 {
		t.Errorf("the coordinator has heard of %d nodes", n)
	}
}

func TestForwardForOthersIsNoticed(t *testing.T) {
	m := newMesh(t)
	p := m.proxy(t, m.env(), "-listen", "", "-forward", "0.0.0.0:0=db:1")
	p.interrupt()
	p.ends(t, "a signal", exitOK, "level=WARN", "others than this machine can use a forward")
}

func TestRefusedAuthKey(t *testing.T) {
	m := newMesh(t)
	env := m.env()
	env["MESHNET_AUTHKEY"] = "meshkey-nobody-made"
	p := start(t, env, "proxy", "-listen", anyPort)
	p.ends(t, "a bad key", exitFailed, "the coordinator refuses this node", "give a new one")
	if strings.Contains(p.stderr.String(), "nobody-made") {
		t.Errorf("it shows the key: %s", p.stderr)
	}
}

func TestLoginByAPerson(t *testing.T) {
	m := newMesh(t)
	env := m.env()
	delete(env, "MESHNET_AUTHKEY")
	p := start(t, env, "proxy", "-listen", anyPort)
	if err := m.coord.Approve(t.Context(), p.stdout.wait(t, `sign in at\s+(http\S+)`), coord.ApproveOptions{}); err != nil {
		t.Fatal(err)
	}
	p.stderr.wait(t, "joined the mesh")
	p.interrupt()
	p.ends(t, "a signal", exitOK)

	p = start(t, env, "proxy", "-listen", anyPort)
	p.stdout.wait(t, `sign in at\s+(http\S+)`)
	p.interrupt()
	p.ends(t, "a signal during the login", exitOK, "stopped before joining the mesh", "sign in at")
}

// slowly begins to fetch a page that does not end yet, through all there is.
func slowly(t *testing.T, p *program) (pages []*http.Response) {
	t.Helper()
	addr := p.stderr.wait(t, `proxy on (\S+:\d+)`)
	forwarded := p.stderr.wait(t, `forward on (\S+)`)
	for _, how := range []struct {
		host  string
		proxy *url.URL
	}{
		{"web", &url.URL{Scheme: "http", Host: addr}},
		{"web", &url.URL{Scheme: "socks5", Host: addr}},
		{forwarded, nil},
	} {
		page := get(t, "http://"+how.host+"/slow", how.proxy)
		if _, err := io.ReadFull(page.Body, make([]byte, len("first half, "))); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	return pages
}

func TestStopLetsTransfersEnd(t *testing.T) {
	m := newMesh(t)
	release := web(t, m.node(t, "web"))
	p := m.proxy(t, m.env(), "-listen", anyPort, "-forward", anyPort+"=web:80")
	pages := slowly(t, p)
	p.interrupt()
	p.stderr.wait(t, `waiting for open connections.* proxy on .*forward on `)
	close(release)
	for i, page := range pages {
		if rest, err := io.ReadAll(page.Body); err != nil || string(rest) != "second half" {
			t.Errorf("transfer %d: %q, %v", i, rest, err)
		}
	}
	p.ends(t, "a signal", exitOK)
}

func TestStopEndsTransfersAfterGrace(t *testing.T) {
	m := newMesh(t)
	web(t, m.node(t, "web"))
	p := m.proxy(t, m.env(), "-listen", anyPort, "-forward", anyPort+"=web:80", "-grace", "1ms")
	pages := slowly(t, p)
	p.interrupt()
	p.ends(t, "a signal", exitOK, "closed connections that were still open")
	for i, page := range pages {
		if rest, err := io.ReadAll(page.Body); err == nil {
			t.Errorf("transfer %d ended well: %q", i, rest)
		}
	}
}

// Signals are the process's, so that this needs one of its own.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no signals to send")
	}
	m := newMesh(t)
	web(t, m.node(t, "web"))
	p := &program{stdout: newOutput(), stderr: newOutput()}
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "proxy", "-listen", anyPort, "-forward", anyPort+"=web:80", "-grace", "1h")
	cmd.Env = append(os.Environ(), beMeshnet+"=1")
	for name, value := range m.env() {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", name, value))
	}
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slowly(t, p)
	cmd.Process.Signal(syscall.SIGTERM)
	p.stderr.wait(t, "waiting for open connections")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil || ctx.Err() != nil {
		t.Errorf("it ended with %v: %s", err, p.stderr)
	}
}
