package interop

import (
	"testing"

	"tailscale.com/tstest/integration/testcontrol"

	"github.com/meshnet-go/meshnet/coord"
)

// tailnet is a coordinator, a relay and a STUN server on loopback.
type tailnet struct {
	kind       string // whose software it runs, as the table names it
	controlURL string
	suffix     string                    // of the full names
	authKey    func(t *testing.T) string // admits one node
	control    *testcontrol.Server       // the coordinator, if it is that
	requests   *requestLog               // to that, outside Noise
	coord      *coord.Server             // the coordinator, if it is ours
}
