package interop

import (
	"testing"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/key"
)

// Both clients find both relays' keys behind their certificates, and log in
// with their request.
func TestDERPFastStart(t *testing.T) {
	hosts := []struct {
		name  string
		start func(*testing.T) *relayHost
	}{
		{"our relay", func(t *testing.T) *relayHost {
			_, host := startDERP(t, derp.ServerConfig{})
			return host
		}},
		{"their relay", startTheirDERP},
	}
	for _, host := range hosts {
		for _, client := range clientKinds {
			t.Run(client.name+" on "+host.name, func(t *testing.T) {
				relay := host.start(t)
				a := join(t, client.dial, relay.region, key.NewNode())
				request := <-relay.requests
				equal(t, "the fast start that the client asks for", request.Header.Get("Derp-Fast-Start"), "1")
				b := join(t, dialOurs, relay.region, key.NewNode())
				check(t, "a packet is sent", a.send(b.public(), []byte("hello")))
				equal(t, "the packet", b.await(t, "packet").data, "hello")
				check(t, "a packet is sent back", b.send(a.public(), []byte("hello back")))
				equal(t, "the packet back", a.await(t, "packet").data, "hello back")
			})
		}
	}
}
