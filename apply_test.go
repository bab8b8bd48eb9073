package meshnet

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// Large packets follow a peer to its new address, and whoever gets the old one
// is not sent them.
func TestRaisedMTUs(t *testing.T) {
	large, other := key.NewNode().Public(), key.NewNode().Public()
	first, second := netip.MustParsePrefix("100.64.0.1/32"), netip.MustParsePrefix("100.64.0.2/32")
	messages := map[key.NodePublic]int{large: 8000 + 32, key.NewNode().Public(): 8000 + 32} // one has gone
	for _, at := range []netip.Prefix{first, second} {
		otherAt := first
		if at == first {
			otherAt = second
		}
		m, err := (*netmap.Map)(nil).Apply(&tailcfg.MapResponse{
			Node: &tailcfg.Node{ID: 1},
			Peers: []*tailcfg.Node{
				{ID: 2, Key: large, Addresses: []netip.Prefix{at}, AllowedIPs: []netip.Prefix{at, netip.MustParsePrefix("10.0.0.0/8")}},
				{ID: 3, Key: other, Addresses: []netip.Prefix{otherAt}},
			},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := raisedMTUs(m, messages), map[netip.Prefix]int{at: 8000}; !maps.Equal(got, want) {
			t.Errorf("raised are %v, want %v", got, want)
		}
	}
}
