package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
)

// A hosted mesh is one that meshnet coord serves, with its directory.
type hosted struct {
	*program
	dir, url string
}

// shortDir returns a directory whose name fits a socket's, also when the test's
// is long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mesh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// host starts meshnet coord in a directory.
func host(t *testing.T, dir string, args ...string) *hosted {
	t.Helper()
	p := start(t, nil, append([]string{"coord", "-dir", dir, "-listen", "0"}, args...)...)
	return &hosted{p, dir, p.stdout.wait(t, `^(http://\S+)\n`)}
}

// does runs a command to its end, wants an exit code, and returns what it
// printed.
func does(t *testing.T, code int, args ...string) string {
	t.Helper()
	stdout, stderr := newOutput(), newOutput()
	w := world{variables{}.get, strings.NewReader(""), stdout, stderr}
	if got := run(testCtx(t), w, args); got != code {
		t.Fatalf("%q ends with %d: %s%s", args, got, stdout, stderr)
	}
	return stdout.String() + stderr.String()
}

// admin runs a command on the mesh.
func (h *hosted) admin(t *testing.T, args ...string) string {
	t.Helper()
	return does(t, exitOK, append(args, "-dir", h.dir)...)
}

// join brings up a node.
func (h *hosted) join(t *testing.T, name, authKey string) *meshnet.Server {
	t.Helper()
	node := &meshnet.Server{Hostname: name, ControlURL: h.url, AuthKey: authKey, Store: meshnet.NewMemoryStore()}
	t.Cleanup(func() { node.Close() })
	if _, err := node.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return node
}

func TestCoordServesAMesh(t *testing.T) {
	h := host(t, shortDir(t))
	authKey := h.admin(t, "authkey", "-reusable")
	if key, rest, _ := strings.Cut(authKey, "\n"); !strings.HasPrefix(key, "mkauth-") || rest != "" {
		t.Errorf("authkey prints more than a key: %q", authKey)
	}
	authKey = strings.TrimSpace(authKey)
	web(t, h.join(t, "web", authKey))
	visitor := h.join(t, "visitor", authKey)
	response, err := visitor.HTTPClient().Get("http://web/")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the page: %v, %v", response, err)
	}
	response.Body.Close()
	h.interrupt()
	h.ends(t, "a signal", exitOK, "stopping")
	if strings.Contains(h.stderr.String(), authKey) {
		t.Error("the log has the auth key")
	}
}

func TestCoordKeepsItsMesh(t *testing.T) {
	dir := shortDir(t)
	first := host(t, dir)
	secret := first.stderr.wait(t, `(mkadmin-\S+)`)
	authKey := strings.TrimSpace(first.admin(t, "authkey"))
	first.interrupt()
	first.ends(t, "a signal", exitOK)
	if !strings.Contains(first.admin(t, "authkey", "list"), "valid") {
		t.Error("the key is not listed while the coordinator is down")
	}
	while := strings.TrimSpace(first.admin(t, "authkey")) // made in its absence

	second := host(t, dir)
	second.join(t, "one", authKey)
	second.join(t, "two", while)
	if text := second.stderr.String(); strings.Contains(text, "mkadmin-") || strings.Contains(text, secret) {
		t.Errorf("the secret is shown again: %s", text)
	}
}

func TestOneCoordinatorPerDirectory(t *testing.T) {
	h := host(t, shortDir(t))
	text := does(t, exitFailed, "coord", "-dir", h.dir, "-listen", "0")
	if !strings.Contains(text, "another coordinator") {
		t.Errorf("the second says: %s", text)
	}
	h.admin(t, "authkey") // the socket is still the first one's
}

// Commands come all at once, before the coordinator, while it starts and after.
func TestCommandsWaitForTheDatabase(t *testing.T) {
	first := host(t, shortDir(t))
	first.interrupt()
	first.ends(t, "a signal", exitOK)
	var commands []*program
	for range 8 {
		commands = append(commands, start(t, nil, "authkey", "-dir", first.dir))
	}
	second := host(t, first.dir)
	for _, c := range commands {
		c.ends(t, "a command", exitOK)
	}
	if n := strings.Count(second.admin(t, "authkey", "list"), "valid"); n != 8 {
		t.Errorf("there are %d keys of 8", n)
	}
}

func TestCommandsTellThatTheyWait(t *testing.T) {
	dir := shortDir(t)
	silent, err := listenLocal(filepath.Join(dir, adminSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := start(t, nil, "authkey", "-dir", dir)
	p.stderr.wait(t, "Waiting for the coordinator in "+dir)
	p.interrupt()
	p.ends(t, "a signal", exitFailed, "does not answer")
}

func TestAdminSocketIsPrivate(t *testing.T) {
	h := host(t, shortDir(t))
	for _, name := range []string{adminSocket, database} {
		info, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	h.interrupt()
	h.ends(t, "a signal", exitOK)
	if _, err := os.Stat(filepath.Join(h.dir, adminSocket)); err == nil {
		t.Error("the socket stays")
	}
}

// A coordinator that was killed leaves its socket behind.
func TestCoordAfterAKill(t *testing.T) {
	dir := shortDir(t)
	cmd := exec.CommandContext(testCtx(t), os.Args[0], "coord", "-dir", dir, "-listen", "0")
	cmd.Env = append(os.Environ(), beMeshnet+"=1")
	printed := newOutput()
	cmd.Stdout = printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed.wait(t, `(http://\S+)\n`)
	authKey := strings.TrimSpace(does(t, exitOK, "authkey", "-dir", dir))
	cmd.Process.Kill()
	cmd.Wait()
	if !strings.Contains(does(t, exitOK, "authkey", "list", "-dir", dir), "valid") {
		t.Error("the key is not there after a kill")
	}
	host(t, dir).join(t, "one", authKey)
}

func TestRelayIsForMembers(t *testing.T) {
	h := host(t, shortDir(t))
	verify := func(nodeKey string) (allowed bool) {
		response, err := http.Post(h.url+"/verify", "application/json", strings.NewReader(`{"NodePublic":"`+nodeKey+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var answer struct{ Allow bool }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Allow
	}
	node := h.join(t, "one", strings.TrimSpace(h.admin(t, "authkey")))
	if !verify(node.Status().Self.Key.String()) {
		t.Error("a relay would refuse a node")
	}
	if verify("nodekey:" + strings.Repeat("1", 64)) {
		t.Error("a relay would serve anybody")
	}
}

func TestCoordRefuses(t *testing.T) {
	dir := shortDir(t)
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.LocalAddr().String())
	for _, tt := range []struct {
		code int
		text string
		args []string
	}{
		{exitUsage, "-dir is missing", nil},
		{exitUsage, "-acme NAME", []string{"-dir", dir, "-listen", "0.0.0.0:0"}},
		{exitUsage, "belong together", []string{"-dir", dir, "-cert", "x"}},
		{exitUsage, "choose one", []string{"-dir", dir, "-cert", "x", "-key", "y", "-acme", "a.example"}},
		{exitUsage, "without a certificate", []string{"-dir", dir, "-acme", "a.example", "-http"}},
		{exitUsage, "-relays", []string{"-dir", dir, "-no-relay"}},
		{exitFailed, "no such file", []string{"-dir", dir, "-listen", "0", "-cert", "/nowhere/c", "-key", "/nowhere/k"}},
		{exitFailed, "DERP map", []string{"-dir", dir, "-listen", "0", "-relays", os.DevNull}},
		{exitFailed, "another port", []string{"-dir", dir, "-listen", "0", "-stun", port}},
		{exitUsage, "-stun", []string{"-dir", dir, "-stun", "65535"}},
		{exitUsage, "-key-expiry", []string{"-dir", dir, "-key-expiry", "soon"}},
	} {
		if text := does(t, tt.code, append([]string{"coord"}, tt.args...)...); !strings.Contains(text, tt.text) {
			t.Errorf("%q: %s", tt.args, text)
		}
	}
}

// A web server that has the certificate passes on what it does not know.
func TestCoordBehindAProxy(t *testing.T) {
	port, _ := freePorts(t)
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "127.0.0.1:" + port}))
	defer proxy.Close()
	dir := shortDir(t)
	p := start(t, nil, "coord", "-dir", dir, "-listen", port, "-url", proxy.URL)
	p.stdout.wait(t, "^"+proxy.URL+"\n")
	joinSecurely(t, dir, proxy.URL, proxy.Certificate())
}

func TestCoordWithACertificate(t *testing.T) {
	vouched := httptest.NewTLSServer(nil) // has a certificate
	defer vouched.Close()
	dir := shortDir(t)
	key, err := x509.MarshalPKCS8PrivateKey(vouched.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cert.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: vouched.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	port, _ := freePorts(t)
	at := "https://127.0.0.1:" + port
	p := start(t, nil, "coord", "-dir", dir, "-listen", port, "-cert", file, "-key", file, "-url", at)
	p.stdout.wait(t, "^"+at+"\n")
	joinSecurely(t, dir, at, vouched.Certificate())
}

// joinSecurely brings up a node, which reaches coordinator and relay by a
// certificate alone.
func joinSecurely(t *testing.T, dir, url string, authority *x509.Certificate) {
	t.Helper()
	node := &meshnet.Server{
		Hostname: "one", ControlURL: url, Store: meshnet.NewMemoryStore(),
		AuthKey:  strings.TrimSpace(does(t, exitOK, "authkey", "-dir", dir)),
		Underlay: meshnet.Underlay{RootCAs: x509.NewCertPool()},
	}
	node.Underlay.RootCAs.AddCert(authority)
	defer node.Close()
	if _, err := node.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
}

// What comes first on a port's connection decides what it is served.
func TestOnePortForTLSAndHTTP(t *testing.T) {
	h := host(t, shortDir(t))
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", u.Host) // keeps nobody else waiting
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	get := func(scheme, path string) int {
		request, _ := http.NewRequestWithContext(context.Background(), "GET", scheme+"://"+u.Host+path, nil)
		response, err := insecure(t).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	for _, tt := range []struct {
		scheme, path string
		want         int
	}{
		{"http", "/key?v=138", http.StatusOK},
		{"https", "/key?v=138", http.StatusOK},
		{"https", "/generate_204", http.StatusNoContent},
		{"https", "/derp", http.StatusUpgradeRequired},
		{"http", "/derp", http.StatusForbidden}, // a relay is reached over TLS alone
	} {
		if got := get(tt.scheme, tt.path); got != tt.want {
			t.Errorf("%s%s: %d, want %d", tt.scheme, tt.path, got, tt.want)
		}
	}
}

// insecure returns a client that trusts every certificate.
func insecure(t *testing.T) *http.Transport {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}
