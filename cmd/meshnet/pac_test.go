package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
)

func peer(name string, addresses ...string) meshnet.PeerStatus {
	p := meshnet.PeerStatus{Name: name}
	for _, a := range addresses {
		p.Addresses = append(p.Addresses, netip.MustParseAddr(a))
	}
	return p
}

// values returns what the lines "var name = value;" of a script say.
func values(t *testing.T, script string) (mesh, suffix string, hosts map[string]int) {
	t.Helper()
	for name, value := range map[string]any{"mesh": &mesh, "suffix": &suffix, "hosts": &hosts} {
		_, rest, ok := strings.Cut(script, "\n  var "+name+" = ")
		literal, _, ended := strings.Cut(rest, ";\n")
		if err := json.Unmarshal([]byte(literal), value); !ok || !ended || err != nil {
			t.Fatalf("the script has no %s: %v\n%s", name, err, script)
		}
	}
	return mesh, suffix, hosts
}

func TestPACFile(t *testing.T) {
	const hostile = "x\"; alert(1); //</script>\u2028\n`${y}"
	script := pacFile(&meshnet.Status{Domain: "Mesh.example.com", Peers: []meshnet.PeerStatus{
		peer("Web.mesh.example.com", "100.64.0.2", "fd7a:115c:a1e0::2"),
		peer("shared.other.example.com", "100.64.0.3"),
		peer("odd.mesh.example.com", "10.1.2.3", "fd00::1"),
		peer(hostile + ".mesh.example.com"),
		peer(""),
	}}, "SOCKS5 127.0.0.1:1080")
	mesh, suffix, hosts := values(t, script)
	if mesh != "SOCKS5 127.0.0.1:1080" || suffix != ".mesh.example.com" {
		t.Errorf("the mesh is %q by %q", suffix, mesh)
	}
	for _, want := range []string{"web", "shared.other.example.com", "odd", "10.1.2.3", "fd00::1", strings.ToLower(hostile)} {
		if hosts[want] != 1 {
			t.Errorf("%q is missing: %v", want, hosts)
		}
		delete(hosts, want)
	}
	if len(hosts) > 0 {
		t.Errorf("there are too many hosts: %v", hosts)
	}
	for _, bad := range []string{"</", "\u2028", `x";`} {
		if strings.Contains(script, bad) {
			t.Errorf("%q stands in the script:\n%s", bad, script)
		}
	}
	if !strings.HasPrefix(script, "function FindProxyForURL(url, host) {\n") || strings.Count(script, "%") > 0 {
		t.Errorf("this is no PAC file:\n%s", script)
	}
}

func TestPACFileWithoutAMesh(t *testing.T) {
	mesh, suffix, hosts := values(t, pacFile(&meshnet.Status{Peers: []meshnet.PeerStatus{peer("web", "100.64.0.2")}}, "PROXY a:1"))
	if mesh != "PROXY a:1" || suffix != "" || len(hosts) != 1 || hosts["web"] != 1 {
		t.Errorf("%q, %q, %v", mesh, suffix, hosts)
	}
}

func TestPages(t *testing.T) {
	status := func() *meshnet.Status {
		return &meshnet.Status{Domain: "mesh", Peers: []meshnet.PeerStatus{peer("web.mesh")}}
	}
	open := pages{status: status}
	closed := pages{status: status, auth: func(user, password string) bool { return user+password == "annsecret" }}
	for _, tt := range []struct {
		pages             pages
		method, host, url string
		code              int
		text              string // of the answer
	}{
		{open, "GET", "127.0.0.1:1080", "/proxy.pac", 200, `"SOCKS5 127.0.0.1:1080; PROXY 127.0.0.1:1080"`},
		{open, "GET", "localhost:1080", "/proxy.pac", 200, `"SOCKS5 localhost:1080; PROXY localhost:1080"`},
		{open, "GET", "LocalHost:1080", "/proxy.pac", 200, `"SOCKS5 localhost:1080; PROXY localhost:1080"`},
		{open, "GET", "[::1]:1080", "/proxy.pac", 200, `"SOCKS5 [::1]:1080; PROXY [::1]:1080"`},
		{open, "GET", "[::1]", "/proxy.pac", 200, `"SOCKS5 [::1]:80; PROXY [::1]:80"`},
		{open, "GET", "192.0.2.1", "/proxy.pac", 200, `"SOCKS5 192.0.2.1:80; PROXY 192.0.2.1:80"`},
		{open, "GET", "127.0.0.1:1080", "/", 200, "http://127.0.0.1:1080/proxy.pac"},
		{open, "GET", "127.0.0.1:1080", "/other", 404, ""},
		{open, "POST", "127.0.0.1:1080", "/proxy.pac", 405, ""},
		{open, "GET", "attacker.example.com:1080", "/proxy.pac", 403, "localhost"},
		{open, "GET", "attacker.example.com", "/", 403, ""},
		{open, "GET", "", "/proxy.pac", 403, ""},
		{open, "GET", "127.0.0.1.attacker.example.com:1080", "/proxy.pac", 403, ""},
		{open, "GET", `127.0.0.1:1080";x="`, "/proxy.pac", 403, ""},
		{open, "GET", "[fe80::1%25x]:1080", "/proxy.pac", 403, ""},
		{open, "GET", "127.0.0.1:0", "/proxy.pac", 403, ""},
		{closed, "GET", "127.0.0.1:1080", "/proxy.pac", 401, ""},
		{closed, "GET", "ann:secret@127.0.0.1:1080", "/proxy.pac", 200, `"PROXY 127.0.0.1:1080"`},
		{closed, "GET", "ann:wrong@127.0.0.1:1080", "/proxy.pac", 401, ""},
		{closed, "GET", "ann:secret@attacker.example.com", "/proxy.pac", 403, ""},
	} {
		r := httptest.NewRequest(tt.method, tt.url, nil)
		credentials, host, ok := strings.Cut(tt.host, "@")
		if r.Host = host; !ok {
			r.Host = tt.host
		} else {
			user, password, _ := strings.Cut(credentials, ":")
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		tt.pages.ServeHTTP(w, r)
		text := w.Body.String()
		if w.Code != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("%s %s at %s: %d, want %d with %q: %s", tt.method, tt.url, tt.host, w.Code, tt.code, tt.text, text)
		}
		if tt.code != 200 && strings.Contains(text, "web") {
			t.Errorf("%s %s at %s shows names: %s", tt.method, tt.url, tt.host, text)
		}
		isPAC := strings.HasPrefix(w.Header().Get("Content-Type"), "application/x-ns-proxy-autoconfig")
		if isPAC != (tt.code == 200 && tt.url == "/proxy.pac") {
			t.Errorf("%s %s at %s: %q", tt.method, tt.url, tt.host, w.Header())
		}
		// These keep a web page from reading the file as a script.
		if h := w.Header(); h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s %s at %s: %q", tt.method, tt.url, tt.host, h)
		}
		if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (w.Code == http.StatusUnauthorized) {
			t.Errorf("%s %s at %s: %q", tt.method, tt.url, tt.host, w.Header())
		}
	}
}

// FuzzNumericHost holds that what comes from a Host header into the script is
// an address and a port.
func FuzzNumericHost(f *testing.F) {
	for _, host := range []string{"127.0.0.1:1080", "[::1]", "localhost", "x", "[::1%lo]:1", "::ffff:1.2.3.4", "[[::1]]:1"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		at, ok := numericHost(host)
		if !ok {
			return
		}
		if again, ok := numericHost(at); again != at || !ok {
			t.Errorf("%q is %q, which is %q", host, at, again)
		}
		if _, err := netip.ParseAddrPort(at); err != nil && !strings.HasPrefix(at, "localhost:") {
			t.Errorf("%q is %q: %v", host, at, err)
		}
	})
}
