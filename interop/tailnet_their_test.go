package interop

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	tstailcfg "tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

// theirTailnet starts Tailscale's test coordinator with Tailscale's relay.
func theirTailnet(t *testing.T) *tailnet {
	t.Helper()
	const authKey = "tskey-for-tests"
	control := &testcontrol.Server{
		Logf:           newLog(t, "testcontrol").printf,
		DERPMap:        theirRelay(t),
		DNSConfig:      &tstailcfg.DNSConfig{Proxied: true},
		MagicDNSDomain: "mesh.test",
		RequireAuthKey: authKey,
		AllOnline:      true,
	}
	requests := &requestLog{Handler: control}
	control.HTTPTestServer = httptest.NewUnstartedServer(requests)
	control.HTTPTestServer.Start()
	t.Cleanup(func() { closeServer(control.HTTPTestServer) })
	return &tailnet{
		kind:       "testcontrol",
		controlURL: control.BaseURL(),
		suffix:     control.MagicDNSDomain,
		authKey:    func(*testing.T) string { return authKey },
		control:    control,
		requests:   requests,
	}
}

// requestLog remembers which requests a handler had.
type requestLog struct {
	http.Handler
	mu   sync.Mutex
	seen []string
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.seen = append(l.seen, r.Method+" "+r.URL.RequestURI())
	l.mu.Unlock()
	l.Handler.ServeHTTP(w, r)
}

// had reports whether there was a request, such as "GET /key?v=113".
func (l *requestLog) had(request string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.seen, request)
}
