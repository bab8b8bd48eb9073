package meshdebug_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/meshdebug"
	"github.com/meshnet-go/meshnet/meshtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// visit asks for a page.
func visit(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func twoNodes(t *testing.T) (node, peer *meshnet.Server) {
	network := meshtest.New(t)
	peer = network.Node("peer")
	node = network.Node("node")
	return node, peer
}

func TestPages(t *testing.T) {
	node, _ := twoNodes(t)
	pages := meshdebug.Handler(node, meshdebug.Options{})
	if page := visit(pages, "/").Body.String(); !strings.Contains(page, "<h1>node.") || !strings.Contains(page, "<td>peer.") ||
		!strings.Contains(page, "The node is running.") || strings.Contains(page, "pprof") || strings.Contains(page, "capture") {
		t.Errorf("the front page is\n%s", page)
	}
	var status struct {
		State meshnet.State
		Peers []struct{ Name string }
	}
	if err := json.Unmarshal(visit(pages, "/status").Body.Bytes(), &status); err != nil || status.State != meshnet.StateRunning || len(status.Peers) != 1 {
		t.Errorf("the status is %+v, %v", status, err)
	}
	if page := visit(pages, "/metrics").Body.String(); !strings.Contains(page, "meshnet_up 1\n") {
		t.Errorf("the metrics are\n%s", page)
	}
	var network meshnet.Netcheck
	if err := json.Unmarshal(visit(pages, "/netcheck").Body.Bytes(), &network); err != nil || network.Home == "" {
		t.Errorf("the netcheck is %+v, %v", network, err)
	}
	for _, path := range []string{"/capture", "/pprof/", "/pprof/heap", "/pprof/profile?seconds=1", "/nothing"} {
		if got := visit(pages, path).Code; got != http.StatusNotFound {
			t.Errorf("%s answers %d", path, got)
		}
	}
}

func TestPagesOfStoppedNode(t *testing.T) {
	srv := new(meshnet.Server)
	pages := meshdebug.Handler(srv, meshdebug.Options{Capture: true})
	if page := visit(pages, "/").Body.String(); !strings.Contains(page, "The node is stopped.") {
		t.Errorf("the front page is\n%s", page)
	}
	for path, want := range map[string]int{"/status": 200, "/metrics": 200, "/netcheck": 503, "/capture": 503} {
		if got := visit(pages, path).Code; got != want {
			t.Errorf("%s answers %d, want %d", path, got, want)
		}
	}
}

// A status has an error with a text.
func TestStatusTellsError(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	srv := &meshnet.Server{ControlURL: "http://" + nobody.Addr().String(), Ephemeral: true}
	defer srv.Close()
	for status := range srv.Watch(t.Context()) {
		if status.Err != nil {
			break
		}
	}
	var status struct{ Err string }
	if err := json.Unmarshal(visit(meshdebug.Handler(srv, meshdebug.Options{}), "/status").Body.Bytes(), &status); err != nil || status.Err == "" {
		t.Errorf("the error is %q, %v", status.Err, err)
	}
}

func TestCapture(t *testing.T) {
	node, peer := twoNodes(t)
	web := httptest.NewServer(meshdebug.Handler(node, meshdebug.Options{Capture: true}))
	defer web.Close()
	ip, _ := peer.IPs()
	resp, err := web.Client().Get(web.URL + "/capture?host=" + ip.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Ping(t.Context(), ip, meshnet.PingTSMP); err != nil {
		t.Fatal(err)
	}
	file := make([]byte, 0, 64<<10)
	for !bytes.Contains(file, ip.AsSlice()) || !bytes.Contains(file, []byte("peer.")) || bytes.Count(file, ip.AsSlice()) < 2 {
		n, err := resp.Body.Read(file[len(file):cap(file)]) // as it goes on
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(file), err)
		}
		file = file[:len(file)+n]
	}
	resp.Body.Close()
	for _, query := range []string{"host=peer", "seconds=-1", "seconds=0", "seconds=99999"} {
		if got := visit(meshdebug.Handler(node, meshdebug.Options{Capture: true}), "/capture?"+query).Code; got != http.StatusBadRequest {
			t.Errorf("%s answers %d", query, got)
		}
	}
}

func TestProfiles(t *testing.T) {
	pages := meshdebug.Handler(new(meshnet.Server), meshdebug.Options{Pprof: true})
	if page := visit(pages, "/pprof/").Body.String(); !strings.Contains(page, "goroutine?debug=1") {
		t.Errorf("the profiles are\n%s", page)
	}
	if page := visit(pages, "/pprof/goroutine?debug=1").Body.String(); !strings.Contains(page, "goroutine profile: total") {
		t.Errorf("the goroutines are\n%s", page)
	}
	gzip := []byte{0x1f, 0x8b}
	for path, begins := range map[string][]byte{
		"/pprof/heap": gzip, "/pprof/profile": gzip, "/pprof/trace": []byte("go 1."),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a visitor who does not stay
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", path, nil))
		if !bytes.HasPrefix(w.Body.Bytes(), begins) {
			t.Errorf("%s begins with %.10q", path, w.Body.Bytes())
		}
	}
	for path, want := range map[string]int{"/pprof/no-such": 404, "/pprof/profile?seconds=x": 400} {
		if got := visit(pages, path).Code; got != want {
			t.Errorf("%s answers %d, want %d", path, got, want)
		}
	}
}

// Nothing is served by programs that do not ask for it.
func TestDefaultServeMuxIsNotTouched(t *testing.T) {
	if _, pattern := http.DefaultServeMux.Handler(httptest.NewRequest("GET", "/debug/pprof/", nil)); pattern != "" {
		t.Errorf("http.DefaultServeMux has %q", pattern)
	}
}
