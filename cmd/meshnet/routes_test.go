package main

import (
	"net/netip"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
)

func TestRoutes(t *testing.T) {
	h := host(t, shortDir(t))
	h.says(t, []string{"No node advertises"}, "routes")
	office := &meshnet.Server{
		Hostname: "office", ControlURL: h.url, AuthKey: h.authKey(t), Store: meshnet.NewMemoryStore(),
		AdvertiseRoutes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}, AdvertiseExitNode: true,
	}
	t.Cleanup(func() { office.Close() })
	if _, err := office.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	h.says(t, []string{"192.168.7.0/24", "office.mesh.internal", "waits for approval"}, "routes")
	h.says(t, []string{"in use"}, "routes", "approve", "office", "192.168.7.0/24")
	h.says(t, []string{"exit node"}, "routes", "approve", "office", "exit")
	h.says(t, []string{"approved, but not advertised"}, "routes", "approve", "office", "192.168.9.9")
	routes := decodes[[]coord.Route](t, h, "routes", "list")
	if len(routes) != 4 || routes[0].Prefix.String() != "0.0.0.0/0" || !routes[0].Approved {
		t.Errorf("the routes: %+v", routes)
	}
	h.says(t, []string{"waits for approval"}, "routes", "reject", "office")
	for _, r := range decodes[[]coord.Route](t, h, "routes", "approve", "1") {
		if !r.Approved || !r.Advertised {
			t.Errorf("approval of all routes leaves out %+v", r)
		}
	}
	h.refuses(t, exitFailed, "meshnet nodes lists", "routes", "approve", "home")
	h.refuses(t, exitUsage, "the network is 192.168.7.0/24", "routes", "approve", "office", "192.168.7.1/24")
	h.refuses(t, exitUsage, "no route", "routes", "approve", "office", "all")
	h.refuses(t, exitFailed, "addresses of the mesh", "routes", "approve", "office", "100.64.0.0/16")
}
