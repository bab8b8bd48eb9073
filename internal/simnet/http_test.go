package simnet

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// TestHTTPOverTLS runs a server on the real clock, as whole nodes with their
// coordinators and relays do, for clients behind one NAT.
func TestHTTPOverTLS(t *testing.T) {
	n := newNet(t)
	home, server := n.Router(RouterConfig{NAT: EasyNAT()}), n.Host()
	home.Link().Set(Quality{Latency: time.Millisecond, Jitter: time.Millisecond})
	n.Name("example.com", server.Addrs()...)

	ln, err := server.Listen(t.Context(), "tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
		fmt.Fprint(w, r.Proto)
	}))
	web.Listener.Close()
	web.Listener = ln
	web.EnableHTTP2 = true
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(web.Close)
	roots := web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	var all sync.WaitGroup
	for range 20 {
		laptop := home.Host()
		all.Go(func() {
			transport := &http.Transport{
				DialContext:       laptop.DialContext,
				TLSClientConfig:   &tls.Config{RootCAs: roots},
				ForceAttemptHTTP2: true,
			}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			resp, err := client.Post("https://example.com/", "text/plain", io.LimitReader(zeros{}, 1<<20))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if want := 1<<20 + len("HTTP/2.0"); len(body) != want || err != nil {
				t.Errorf("got %d bytes, %v; want %d", len(body), err, want)
			}
		})
	}
	all.Wait()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
