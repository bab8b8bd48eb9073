package interop

import (
	"context"
	"errors"
	"testing"
	"time"

	"tailscale.com/tstest/integration/testcontrol"
)

// tailnet is a coordinator, a relay and a STUN server on loopback.
type tailnet struct {
	kind       string // whose software it runs, as the table names it
	controlURL string
	suffix     string                    // of the full names
	authKey    func(t *testing.T) string // admits one node
	control    *testcontrol.Server       // the coordinator, if it is that
	requests   *requestLog               // to that, outside Noise
}

// connected waits until each of two nodes reaches the other.
func (n *tailnet) connected(t *testing.T, a, b node) {
	t.Helper()
	n.reaches(t, a, b)
	n.reaches(t, b, a)
}

// reaches waits until one node reaches another.
func (n *tailnet) reaches(t *testing.T, from, to node) {
	t.Helper()
	p := pair{n, from, to}
	eventually(t, from.host()+" reaches "+to.host(), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return p.tcpEcho(ctx, "tcp", p.address())
	})
}

// cutOff waits until one node does not reach another any more.
func (n *tailnet) cutOff(t *testing.T, from, to node) {
	t.Helper()
	p := pair{n, from, to}
	eventually(t, from.host()+" does not reach "+to.host(), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
		defer cancel()
		if p.tcpEcho(ctx, "tcp", p.address()) == nil {
			return errors.New("it does")
		}
		return nil
	})
}
