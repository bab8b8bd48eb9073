package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// A relayed is meshnet relay that runs.
type relayed struct {
	*program
	dir    string
	entry  string // file with what it prints
	region *derpmap.Region
}

func startRelay(t *testing.T, args ...string) *relayed {
	t.Helper()
	dir := shortDir(t)
	p := start(t, nil, append([]string{"relay", "-dir", dir, "-listen", "0"}, args...)...)
	entry := p.stdout.wait(t, `^(\{.*\})\n`)
	r := &relayed{program: p, dir: dir, entry: filepath.Join(dir, "entry.json"), region: new(derpmap.Region)}
	if err := json.Unmarshal([]byte(entry), r.region); err != nil {
		t.Fatalf("the entry is no region: %v: %s", err, entry)
	}
	if err := os.WriteFile(r.entry, []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// client connects to the relay.
func (r *relayed) client(t *testing.T) (*derp.Client, key.NodePublic, error) {
	t.Helper()
	k := key.NewNode()
	c, err := derp.Dial(testCtx(t), derp.DialConfig{Key: k, Region: r.region})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, k.Public(), err
}

func (r *relayed) mustClient(t *testing.T) (*derp.Client, key.NodePublic) {
	t.Helper()
	c, k, err := r.client(t)
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

func (r *relayed) status(t *testing.T) (s relayStatus) {
	t.Helper()
	if err := json.Unmarshal([]byte(does(t, exitOK, "relay", "status", "-json", "-dir", r.dir)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// A relay by itself serves the nodes of a mesh, and nobody else.
func TestRelayServesAMesh(t *testing.T) {
	// The relay asks a coordinator that is told of the relay when it starts.
	var later atomic.Pointer[url.URL]
	verify := httptest.NewServer(&httputil.ReverseProxy{Transport: insecure(t), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(later.Load()) }})
	defer verify.Close()
	r := startRelay(t, "-verify", verify.URL, "-region-name", "Attic", "-limit", "100M")
	h := host(t, shortDir(t), "-no-relay", "-relays", r.entry)
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	later.Store(u)

	authKey := h.authKey(t, "-reusable")
	web(t, h.join(t, "web", authKey))
	response, err := h.join(t, "visitor", authKey).HTTPClient().Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if _, _, err := r.client(t); err == nil {
		t.Error("the relay serves a stranger")
	}

	s := r.status(t)
	if len(s.Now) != 2 || s.Total.Home != 2 || s.Total.Refused == 0 || s.Total.PacketsIn == 0 || s.Region.RegionName != "Attic" {
		t.Errorf("the relay's status: %+v", s)
	}
	text := does(t, exitOK, "relay", "status", "-dir", r.dir)
	for _, want := range []string{"901-127.0.0.1:", "Attic", "2, and 0 at 0 other", "home", s.Now[0].Key.String()} {
		if !strings.Contains(text, want) {
			t.Errorf("the relay's status does not say %q: %s", want, text)
		}
	}
	if strings.Contains(r.stderr.String(), "anybody") {
		t.Errorf("the relay believes that it is open: %s", r.stderr)
	}
}

// Clients are told that the relay comes back, and find the same one then.
func TestRelayRestarts(t *testing.T) {
	r := startRelay(t)
	r.stderr.wait(t, "anybody may use this relay")
	c, _ := r.mustClient(t)
	first := r.status(t).Key
	r.interrupt()
	f, err := c.Recv()
	if err != nil || f.Type != derp.FrameRestarting || f.TryFor == 0 {
		t.Errorf("the client hears %+v, %v", f, err)
	}
	c.Close()
	r.ends(t, "a signal", exitOK, "stopping")
	if text := does(t, exitFailed, "relay", "status", "-dir", r.dir); !strings.Contains(text, "no relay runs") {
		t.Errorf("the status of no relay: %s", text)
	}

	again := start(t, nil, "relay", "-dir", r.dir, "-listen", "0")
	var region derpmap.Region
	if err := json.Unmarshal([]byte(again.stdout.wait(t, `^(\{.*\})\n`)), &region); err != nil || region.Nodes[0].CertName != r.region.Nodes[0].CertName {
		t.Errorf("the relay has another certificate: %+v, %v", region.Nodes[0], err)
	}
	if second := r.status(t).Key; second != first {
		t.Error("the relay has another key")
	}
	if text := does(t, exitFailed, "relay", "-dir", r.dir, "-listen", "0"); !strings.Contains(text, "another relay") {
		t.Errorf("a second relay in the directory: %s", text)
	}
}

// Relays of a region forward to each other.
func TestRelaysOfARegion(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(does(t, exitOK, "relay", "mesh-key")), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startRelay(t, "-mesh-key-file", keyFile)
	b := startRelay(t, "-mesh-key-file", keyFile, "-mesh", a.entry)
	b.stderr.wait(t, "connected to a relay of the region")
	sender, _ := b.mustClient(t)
	receiver, at := a.mustClient(t)
	received := make(chan derp.Frame, 1)
	go func() {
		if f, err := receiver.Recv(); err == nil {
			received <- f
		}
	}()
	again := time.NewTicker(10 * time.Millisecond) // the relay may not have heard of the client yet
	defer again.Stop()
	ctx := testCtx(t)
	for {
		if err := errors.Join(sender.Send(at, []byte("hello")), sender.Flush()); err != nil {
			t.Fatal(err)
		}
		select {
		case f := <-received:
			if f.Type != derp.FrameRecvPacket || string(f.Data) != "hello" {
				t.Errorf("the client at the other relay gets %+v", f)
			}
			return
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("nothing comes to the other relay")
		}
	}
}

// Behind a proxy that has the certificate, the relay serves without TLS.
func TestRelayBehindAProxy(t *testing.T) {
	dir := shortDir(t)
	p := start(t, nil, "relay", "-dir", dir, "-listen", "0", "-http", "-url", "https://relay.example.com", "-stun", "off")
	var region derpmap.Region
	if err := json.Unmarshal([]byte(p.stdout.wait(t, `^(\{.*\})\n`)), &region); err != nil {
		t.Fatal(err)
	}
	want := derpmap.Node{Name: "901-relay.example.com", RegionID: 901, HostName: "relay.example.com", DERPPort: 443, STUNPort: -1}
	if len(region.Nodes) != 1 || *region.Nodes[0] != want {
		t.Errorf("the entry: %+v", region.Nodes[0])
	}
}

func TestRelayPrint(t *testing.T) {
	dir := shortDir(t)
	first := start(t, nil, "relay", "-dir", dir, "-listen", "127.0.0.1:0", "-print", "-region", "7", "-region-code", "fra", "-name", "7a")
	first.ends(t, "the entry has been printed", exitOK, "other ports")
	text := first.stdout.String()
	m, err := parseDERPMap([]byte(text))
	if err != nil || m.Regions[7].RegionCode != "fra" || m.Regions[7].Nodes[0].Name != "7a" || len(m.Regions[7].Nodes) != 2 {
		t.Fatalf("the entry: %s, %v", text, err)
	}
	if again := does(t, exitOK, "relay", "-dir", dir, "-listen", "127.0.0.1:0", "-print"); !strings.Contains(again, m.Regions[7].Nodes[0].CertName) {
		t.Errorf("another certificate is pinned: %s", again)
	}
}

func TestRelayRefuses(t *testing.T) {
	dir := shortDir(t)
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code int
		text string
		args []string
	}{
		{exitUsage, "-dir is missing", nil},
		{exitUsage, "-http needs -url", []string{"-dir", dir, "-http"}},
		{exitUsage, "https alone", []string{"-dir", dir, "-url", "http://relay.example.com"}},
		{exitUsage, "-verify-fail-open", []string{"-dir", dir, "-verify-fail-open"}},
		{exitUsage, "-verify", []string{"-dir", dir, "-verify", "mesh.example.com"}},
		{exitUsage, "-limit", []string{"-dir", dir, "-limit", "fast"}},
		{exitUsage, "-limit", []string{"-dir", dir, "-limit", "3G"}},
		{exitUsage, "-region", []string{"-dir", dir, "-region", "70000"}},
		{exitUsage, "-max-connections", []string{"-dir", dir, "-max-connections", "0"}},
		{exitUsage, "meshnet relay mesh-key", []string{"-dir", dir, "-listen", "0", "-mesh", bad}},
		{exitFailed, "64 hexadecimal digits", []string{"-dir", dir, "-listen", "0", "-mesh-key-file", bad}},
	} {
		if text := does(t, tt.code, append([]string{"relay"}, tt.args...)...); !strings.Contains(text, tt.text) {
			t.Errorf("%q: %s", tt.args, text)
		}
	}
}

// A relay is reached over TLS alone, unless that was asked for.
func TestRelayWantsTLS(t *testing.T) {
	r := startRelay(t)
	addr := net.JoinHostPort("127.0.0.1", strings.TrimPrefix(r.region.Nodes[0].Name, "901-127.0.0.1:"))
	response, err := insecure(t).RoundTrip(httptest.NewRequest("GET", "http://"+addr+"/derp", nil))
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Fatalf("without TLS: %v, %v", response, err)
	}
	response.Body.Close()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestMergeDERPMaps(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := file("a", `{"RegionID":901,"Nodes":[{"Name":"901a","RegionID":901,"HostName":"a.example"}]}`)
	b := file("b", `{"RegionID":901,"Nodes":[{"Name":"901b","RegionID":901,"HostName":"b.example"}]}`)
	c := file("c", `{"Regions":{"7":{"RegionID":7,"Nodes":[{"Name":"7a","RegionID":7,"HostName":"c.example"}]}}}`)
	m, err := loadDERPMaps([]string{a, b, c})
	if err != nil || len(m.Regions) != 2 || len(m.Regions[901].Nodes) != 2 {
		t.Errorf("three files are %+v, %v", m, err)
	}
	if _, err := loadDERPMaps([]string{a, b, a}); err == nil || !strings.Contains(err.Error(), `"901a"`) {
		t.Errorf("a relay twice: %v", err)
	}
}

func FuzzDERPMap(f *testing.F) {
	f.Add([]byte(`{"RegionID":901,"Nodes":[{"Name":"901a","RegionID":901,"HostName":"a.example"}]}`))
	f.Add([]byte(`{"Regions":{"7":{"RegionID":7,"Nodes":[{"HostName":"c.example","RegionID":7}]},"8":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseDERPMap(text)
		if err != nil {
			return
		}
		for id, r := range m.Regions {
			if r.RegionID != id || len(r.Nodes) == 0 {
				t.Errorf("region %d is %+v", id, r)
			}
		}
	})
}
