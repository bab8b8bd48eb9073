package meshtest_test

import (
	"testing"

	"github.com/meshnet-go/meshnet/meshtest"
)

var kinds = []meshtest.Kind{
	meshtest.OpenInternet, meshtest.Firewall, meshtest.FullConeNAT, meshtest.EasyNAT,
	meshtest.HardNAT, meshtest.UDPBlocked, meshtest.IPv6Only,
}

// A way is how the packets of a pair go.
type way string

const (
	direct  way = "directly"
	relayed way = "through a relay"
	// guessed is relayed at first, and direct when the port of a hard NAT has
	// been guessed, seconds later.
	guessed way = "through a relay, at first"
)

// wayOf returns what two kinds make possible.
func wayOf(a, b meshtest.Kind) way {
	either := func(kind meshtest.Kind) bool { return a == kind || b == kind }
	ip4 := func(kind meshtest.Kind) bool { return kind != meshtest.IPv6Only }
	ip6 := func(kind meshtest.Kind) bool {
		return kind == meshtest.OpenInternet || kind == meshtest.Firewall || kind == meshtest.IPv6Only
	}
	switch {
	case either(meshtest.UDPBlocked), a == meshtest.HardNAT && b == meshtest.HardNAT:
		return relayed
	case ip6(a) && ip6(b):
		return direct
	case !ip4(a) || !ip4(b):
		return relayed
	case either(meshtest.HardNAT) && (either(meshtest.EasyNAT) || either(meshtest.Firewall)):
		return guessed
	}
	return direct
}

func TestKindsOfNetworks(t *testing.T) {
	for i, kindA := range kinds {
		for _, kindB := range kinds[i:] {
			t.Run(kindA.String()+" and "+kindB.String(), func(t *testing.T) {
				t.Parallel()
				mesh, a, b := pair(t, meshtest.NAT(kindA), meshtest.NAT(kindB))
				wantReach(t, a, b)
				wantReach(t, b, a)
				switch wayOf(kindA, kindB) {
				case direct:
					mesh.WaitDirect(a, b)
				case relayed:
					mesh.WaitRelayed(a, b)
				}
				wantReach(t, a, b)
				wantReach(t, b, a)
			})
		}
	}
}
