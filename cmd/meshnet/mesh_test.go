package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// testCtx bounds what a test waits for; no test takes nearly that long.
func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A mesh is a coordinator and a relay on loopback.
type mesh struct {
	url, authKey string
	coord        *coord.Server
	region       *derpmap.Region // of its relay
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	relay := derp.NewServer(derp.ServerConfig{})
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	relayServer := httptest.NewUnstartedServer(relay)
	relayServer.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	relayServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	relayServer.StartTLS()
	region := &derpmap.Region{RegionID: 900, RegionCode: "test", Nodes: []*derpmap.Node{{
		Name: "900a", RegionID: 900, HostName: "127.0.0.1", CertName: certName, STUNPort: -1,
		DERPPort: relayServer.Listener.Addr().(*net.TCPAddr).Port,
	}}}
	coordinator, err := coord.New(coord.Config{DERPMap: &derpmap.Map{OmitDefaultRegions: true, Regions: map[int]*derpmap.Region{900: region}}})
	if err != nil {
		t.Fatal(err)
	}
	control := httptest.NewServer(coordinator)
	t.Cleanup(func() {
		coordinator.Close()
		control.Close()
		relay.Close()
		relayServer.Close()
	})
	m := &mesh{url: control.URL, coord: coordinator, region: region}
	if m.authKey, err = coordinator.CreateAuthKey(t.Context(), coord.AuthKeyOptions{Reusable: true}); err != nil {
		t.Fatal(err)
	}
	return m
}

// node returns a node of the mesh that is up.
func (m *mesh) node(t *testing.T, name string) *meshnet.Server {
	t.Helper()
	node := &meshnet.Server{Hostname: name, ControlURL: m.url, AuthKey: m.authKey, Ephemeral: true}
	t.Cleanup(func() { node.Close() })
	if _, err := node.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return node
}
