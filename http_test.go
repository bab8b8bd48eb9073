package meshnet

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
)

func TestHTTPClientAndWhoIs(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.up("web"), m.up("visitor")
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := web.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(w, who.Node.Name)
	}))
	resp, err := visitor.HTTPClient().Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if name, err := io.ReadAll(resp.Body); err != nil || string(name) != "visitor.mesh.internal" {
		t.Errorf("the server was visited by %q, %v", name, err)
	}
	if _, err := web.WhoIs(testCtx(t), "100.64.9.9"); err == nil {
		t.Error("somebody has an address that nobody has")
	}
	if _, err := web.WhoIs(testCtx(t), "web"); err == nil {
		t.Error("a name is not an address")
	}
}

// TestHTTPClientEndsWithTheNode closes a node under a request, and leaves an
// idle connection to the check for leaked goroutines.
func TestHTTPClientEndsWithTheNode(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.up("web"), m.up("visitor")
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/quick", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		close(waiting)
		<-r.Context().Done()
	})
	go http.Serve(ln, mux)
	client := visitor.HTTPClient()
	resp, err := client.Get("http://web/quick")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := client.Get("http://web/slow")
		failed <- err
	}()
	<-waiting
	if resp, err = client.Get("http://web/quick"); err != nil { // on another connection
		t.Fatal(err)
	}
	resp.Body.Close()
	visitor.Close()
	if err := <-failed; err == nil {
		t.Error("a request outlives its node")
	}
	if _, err := client.Get("http://web/quick"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a request after Close: %v", err)
	}
	web.Close()
}
