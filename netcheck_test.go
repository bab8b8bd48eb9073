package meshnet

import (
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/netcheck"
)

func TestNetcheck(t *testing.T) {
	s := newMesh(t, nil).up("node")
	got, err := s.Netcheck(testCtx(t))
	if err != nil || got.Home != "test" || got.At.IsZero() || len(got.Relays) != 1 || got.Relays[0].Name != "Test" {
		t.Errorf("the network is %+v, %v", got, err)
	}
	s.Close()
	if got, err := s.Netcheck(testCtx(t)); err == nil {
		t.Errorf("after Close: %+v", got)
	}
}

func TestRelaysAreSortedByLatency(t *testing.T) {
	m := &derpmap.Map{Regions: map[int]*derpmap.Region{}}
	for id, code := range []string{"dumb", "far", "near", "https"} {
		m.Regions[id+1] = &derpmap.Region{RegionCode: code, Nodes: []*derpmap.Node{{}}}
	}
	got := describeNetwork(netcheck.Report{
		Home: 3, UDP: netcheck.Yes, IPv6: netcheck.No,
		Latency: map[int]netcheck.Latency{
			2: {IPv4: 80 * time.Millisecond, IPv6: 90 * time.Millisecond, HTTPS: time.Millisecond},
			3: {IPv6: 20 * time.Millisecond},
			4: {HTTPS: 50 * time.Millisecond},
		},
	}, m)
	want := []RelayLatency{{"near", "", 20 * time.Millisecond}, {"https", "", 50 * time.Millisecond}, {"far", "", 80 * time.Millisecond}, {Region: "dumb"}}
	if !slices.Equal(got.Relays, want) {
		t.Errorf("the relays are %v, want %v", got.Relays, want)
	}
	if got.Home != "near" || got.UDP != AnswerYes || got.IPv6 != AnswerNo || got.HardNAT != AnswerUnknown {
		t.Errorf("the network is %+v", got)
	}
}
