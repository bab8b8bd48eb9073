//go:build ts_debug_websockets

package interop

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
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

// TestTheirNodesByWebSocket is run by TestDERPTheirClientByWebSocket, too. Two
// real nodes come to our relay as browsers do.
func TestTheirNodesByWebSocket(t *testing.T) {
	relay, _ := startDERP(t, derp.ServerConfig{PlainHTTP: true})
	upgrades := make(chan string, 1000)
	clear := httptest.NewServer(headerSpy(upgrades, relay))
	t.Cleanup(func() { closeServer(clear) })
	node := &derpmap.Node{Name: "1a", RegionID: 1, HostName: loopback, DERPPort: clear.Listener.Addr().(*net.TCPAddr).Port, STUNPort: -1}
	tailnet := &ourTailnetOn(t, &derpmap.Map{OmitDefaultRegions: true, Regions: map[int]*derpmap.Region{
		1: {RegionID: 1, RegionCode: "clear", Nodes: []*derpmap.Node{node}},
	}}, nil).tailnet
	ts1, ts2 := tailnet.startTsnet(t, "ts1"), tailnet.startTsnet(t, "ts2")
	awaitPeers(t, tailnet.suffix, ts1, ts2)
	p := pair{tailnet, ts1, ts2}
	check(t, "the call is answered", p.tcpEcho(within(t, 20*time.Second), "tcp", p.address()))
	websockets := 0
	for len(upgrades) > 0 {
		if <-upgrades == "websocket" {
			websockets++
		}
	}
	if sent := relay.Stats().PacketsOut; websockets < 2 || sent == 0 {
		t.Errorf("%d WebSockets were opened and %d packets relayed, want 2 and some", websockets, sent)
	}
}

// headerSpy notes what requests ask to upgrade to.
func headerSpy(upgrades chan<- string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrades <- r.Header.Get("Upgrade")
		handler.ServeHTTP(w, r)
	})
}
