package interop

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tailscale.com/ipn/ipnstate"
	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet"
)

// Whoever calls, and whosever the coordinator and relay are, soon both send
// directly.
func TestDirectOnLoopback(t *testing.T) {
	for _, software := range []struct {
		name string
		new  func(*testing.T) *tailnet
	}{
		{"testcontrol", theirTailnet},
		{"coord", func(t *testing.T) *tailnet { return &ourTailnet(t).tailnet }},
	} {
		t.Run(software.name+"/meshnet calls", func(t *testing.T) {
			s := newStrangers(t, software.new(t))
			s.getDirect(t, s.mesh, s.ts)
		})
		t.Run(software.name+"/tsnet calls", func(t *testing.T) {
			s := newStrangers(t, software.new(t))
			s.getDirect(t, s.ts, s.mesh)
		})
		t.Run(software.name+"/tsnet pings", func(t *testing.T) {
			s := newStrangers(t, software.new(t))
			s.pongsDirectly(t)
		})
	}
}

// strangers are a meshnet and a tsnet node that have not met yet.
type strangers struct {
	*tailnet
	mesh *meshnetNode
	ts   *tsnetNode
}

func newStrangers(t *testing.T, tailnet *tailnet) *strangers {
	t.Helper()
	s := &strangers{tailnet, tailnet.startMeshnet(t, "mesh1"), tailnet.startTsnet(t, "ts1")}
	eventually(t, "both know a way to the other", func(context.Context) error {
		if s.mesh.path(s.ts.key()) == (meshnet.Path{}) || s.ts.path(s.mesh.key()) == (meshnet.Path{}) {
			return errors.New("they do not")
		}
		return nil
	})
	return s
}

// getDirect has one node call the other, and waits for direct paths there and back.
func (s *strangers) getDirect(t *testing.T, from, to node) {
	t.Helper()
	p := pair{s.tailnet, from, to}
	check(t, "the call is answered", p.tcpEcho(within(t, 20*time.Second), "tcp", p.address()))
	eventually(t, "the paths there and back are direct", func(ctx context.Context) error {
		there, back := from.path(to.key()), to.path(from.key())
		if there.Direct.IsValid() && back.Direct.IsValid() {
			return nil
		}
		return errors.Join(fmt.Errorf("the path there is %s, and back %s", there, back), p.tcpEcho(ctx, "tcp", p.address()))
	})
}

// pongsDirectly does what `tailscale ping` does, until a pong comes by UDP.
func (s *strangers) pongsDirectly(t *testing.T) {
	t.Helper()
	ip4, _ := s.mesh.ips()
	eventually(t, "mesh1 answers a disco ping by UDP", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		result, err := s.ts.local.Ping(ctx, ip4, tstailcfg.PingDisco)
		return errors.Join(err, byUDP(result))
	})
}

func byUDP(result *ipnstate.PingResult) error {
	switch {
	case result == nil:
		return nil
	case result.Err != "":
		return errors.New(result.Err)
	case result.Endpoint == "" || result.DERPRegionID != 0:
		return fmt.Errorf("the pong came through region %d", result.DERPRegionID)
	}
	return nil
}
