package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	tsderp "tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/key"
)

// theirMessages connects a client of theirs, and returns what it is told.
func theirMessages(t *testing.T, host *relayHost, private tskey.NodePrivate, mesh derp.MeshKey) (*derphttp.Client, <-chan tsderp.ReceivedMessage) {
	t.Helper()
	c := derphttp.NewRegionClient(private, newLog(t, "derphttp").printf, netmon.NewStatic(),
		func() *tstailcfg.DERPRegion { return host.region })
	if !mesh.IsZero() {
		var err error
		c.MeshKey, err = tskey.ParseDERPMesh(mesh.Secret())
		check(t, "they read our mesh key", err)
	}
	t.Cleanup(func() { c.Close() })
	check(t, "their client connects", c.Connect(within(t, 10*time.Second)))
	told := make(chan tsderp.ReceivedMessage, 100)
	go func() {
		defer close(told)
		for {
			m, err := c.Recv()
			if err != nil {
				return
			}
			if _, info := m.(tsderp.ServerInfoMessage); !info {
				told <- m
			}
		}
	}()
	return c, told
}

func TestDERPNotices(t *testing.T) {
	relay, host := startDERP(t, derp.ServerConfig{})
	private := tskey.NewNode()
	_, told := theirMessages(t, host, private, derp.MeshKey{})
	eventually(t, "the first is in", func(context.Context) error { // their Connect does not wait for it
		if n := relay.Stats().Clients; n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	second, _ := theirMessages(t, host, private, derp.MeshKey{})
	problem, is := (<-told).(tsderp.HealthMessage)
	equal(t, "a client of the same key is told of, with a text", is && problem.Problem != "", true)
	check(t, "the other leaves", second.Close())
	equal(t, "what is told then", <-told, tsderp.ReceivedMessage(tsderp.HealthMessage{}))

	go relay.Shutdown(t.Context(), 0, time.Minute)
	equal(t, "what is told before a restart", <-told, tsderp.ReceivedMessage(tsderp.ServerRestartingMessage{TryFor: time.Minute}))
}

func TestDERPWhoKnowsTheMeshKeyMayDisconnect(t *testing.T) {
	mesh := derp.NewMeshKey()
	relay, host := startDERP(t, derp.ServerConfig{MeshKey: mesh})
	victim := join(t, dialOurs, host.region, key.NewNode())
	admin, _ := theirMessages(t, host, tskey.NewNode(), mesh)
	check(t, "their client asks to disconnect ours", admin.ClosePeer(theirNodePublic(victim.public())))
	if _, open := <-victim.events; open {
		t.Fatal("our client hears something instead of the end")
	}
	eventually(t, "only the other is left", func(context.Context) error {
		if n := relay.Stats().Clients; n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// Coordinators answer derper's question in the types of tailcfg.
func TestDERPAdmission(t *testing.T) {
	friend := key.NewNode()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked tstailcfg.DERPAdmitClientRequest
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Source.String() != loopback {
			t.Errorf("asked %+v: %v", asked, err)
		}
		json.NewEncoder(w).Encode(tstailcfg.DERPAdmitClientResponse{Allow: asked.NodePublic == theirNodePublic(friend.Public())})
	}))
	t.Cleanup(web.Close)
	_, host := startDERP(t, derp.ServerConfig{Admit: derp.AdmitURL{URL: web.URL}.Admit})
	for _, client := range clientKinds {
		join(t, client.dial, host.region, friend)
		c, err := client.dial(t, host.region, key.NewNode())
		if err == nil { // their client takes itself to be in until it is told more
			_, err = c.next()
		}
		equal(t, client.name+" that is not admitted is let in", err == nil, false)
	}
}
