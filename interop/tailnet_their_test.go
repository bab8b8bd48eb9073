package interop

import (
	"net/http/httptest"
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
	control.HTTPTestServer = httptest.NewUnstartedServer(control)
	control.HTTPTestServer.Start()
	t.Cleanup(func() { closeServer(control.HTTPTestServer) })
	return &tailnet{
		kind:       "testcontrol",
		controlURL: control.BaseURL(),
		suffix:     control.MagicDNSDomain,
		authKey:    func(*testing.T) string { return authKey },
		control:    control,
	}
}
