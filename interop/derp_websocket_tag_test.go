//go:build ts_debug_websockets

package interop

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/key"
)

// TestTheirWebSocket is run by TestDERPTheirClientByWebSocket. Their client
// asks the system about certificates then, so it comes in clear.
func TestTheirWebSocket(t *testing.T) {
	relay, host := startDERP(t, derp.ServerConfig{PlainHTTP: true})
	upgrades := make(chan string, 10)
	clear := httptest.NewServer(headerSpy(upgrades, relay))
	t.Cleanup(func() { closeServer(clear) })
	dial := func(t *testing.T, _ *tstailcfg.DERPRegion, private key.NodePrivate) (relayClient, error) {
		var theirs tskey.NodePrivate
		check(t, "they read our private node key", theirs.UnmarshalText([]byte(private.Secret())))
		c, err := derphttp.NewClient(theirs, clear.URL+"/derp", newLog(t, "derphttp").printf, netmon.NewStatic())
		check(t, "their client is made", err)
		t.Cleanup(func() { c.Close() })
		return &theirRelayClient{c, private.Public()}, c.Connect(within(t, 10*time.Second))
	}
	a, b := join(t, dial, nil, key.NewNode()), join(t, dialOurs, host.region, key.NewNode())
	equal(t, "what the client asks for", <-upgrades, "websocket")
	swapPackets(t, a, b)
}

// headerSpy notes what requests ask to upgrade to.
func headerSpy(upgrades chan<- string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrades <- r.Header.Get("Upgrade")
		handler.ServeHTTP(w, r)
	})
}
