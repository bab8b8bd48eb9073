package interop

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// dialOursByWebSocket is dialOurs as browsers and hard networks need it.
func dialOursByWebSocket(t *testing.T, region *tstailcfg.DERPRegion, private key.NodePrivate) (relayClient, error) {
	c, err := derp.Dial(within(t, 10*time.Second), derp.DialConfig{
		Key: private, Region: convert[derpmap.Region](t, region), WebSocket: true,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return &ourRelayClient{c, private.Public()}, nil
}

func TestDERPOurClientByWebSocket(t *testing.T) {
	_, ours := startDERP(t, derp.ServerConfig{})
	for name, host := range map[string]*relayHost{"our relay": ours, "their relay": startTheirDERP(t)} {
		t.Run(name, func(t *testing.T) {
			a := join(t, dialOursByWebSocket, host.region, key.NewNode())
			equal(t, "what the client asks for", (<-host.requests).Header.Get("Upgrade"), "websocket")
			swapPackets(t, a, join(t, dialTheirs, host.region, key.NewNode()))
		})
	}
}

// Their client has WebSockets outside browsers only when it is built for that.
func TestDERPTheirClientByWebSocket(t *testing.T) {
	cmd := exec.CommandContext(within(t, 5*time.Minute), "go", "test", "-tags", "ts_debug_websockets", "-count=1", "-run", "^TestTheir(WebSocket|NodesByWebSocket)$", "-v", ".")
	cmd.Env = append(os.Environ(), "TS_DEBUG_DERP_WS_CLIENT=1", "TS_DEBUG_USE_DERP_HTTP=1")
	output, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(output), "--- PASS: TestTheir") != 2 {
		t.Fatalf("%v: %s", err, output)
	}
}

// swapPackets sends packets of all sizes both ways.
func swapPackets(t *testing.T, a, b member) {
	t.Helper()
	for _, size := range []int{1, 1400, 64 << 10} {
		packet := strings.Repeat("x", size)
		check(t, "a packet is sent", a.send(b.public(), []byte(packet)))
		equal(t, "the packet came whole", b.await(t, "packet").data == packet, true)
		check(t, "a packet is sent back", b.send(a.public(), []byte(packet)))
		equal(t, "the packet came back whole", a.await(t, "packet").data == packet, true)
	}
}
