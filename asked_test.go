package meshnet

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestPingsForTheCoordinator(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	s.tell(a, b, nil)
	aIP, aIP6 := a.IPs()
	asked := 0
	ask := func(types string, ip netip.Addr) tailcfg.PingResponse {
		t.Helper()
		asked++
		s.frame(b, &tailcfg.MapResponse{KeepAlive: true, PingRequest: &tailcfg.PingRequest{
			URL: fmt.Sprintf("https://coordinator/answer?%d", asked), URLIsNoise: true, Types: types, IP: ip,
		}})
		select {
		case resp := <-s.answers:
			return resp
		case <-testCtx(t).Done():
			t.Fatalf("a %s ping to %v is not answered", types, ip)
			panic("unreachable")
		}
	}
	for _, ip := range []netip.Addr{aIP, aIP6} {
		for _, kind := range []string{"disco", "TSMP", "ICMP"} {
			got := ask(kind, ip)
			way := got.Endpoint != "" || got.DERPRegionID == 900 && got.DERPRegionCode != ""
			if got.Type != kind || got.IP != ip.String() || got.NodeIP != aIP.String() || got.NodeName != "a" ||
				got.Err != "" || got.LatencySeconds <= 0 || way != (kind == "disco") {
				t.Errorf("%s to %v: %+v", kind, ip, got)
			}
		}
	}
	eventually(t, "the direct path is told", func() bool {
		got := ask("disco", aIP)
		_, err := netip.ParseAddrPort(got.Endpoint)
		return err == nil && got.DERPRegionID == 0
	})
	bIP, _ := b.IPs()
	if got := ask("disco", bIP); !got.IsLocalIP || got.Err == "" {
		t.Errorf("itself: %+v", got)
	}
	for _, ip := range []netip.Addr{netip.MustParseAddr("100.64.9.9"), netip.MustParseAddr("192.0.2.1"), {}} {
		if got := ask("ICMP", ip); got.Err == "" || got.LatencySeconds != 0 {
			t.Errorf("%v, which no peer has: %+v", ip, got)
		}
	}
}

// TestPingsForTheCoordinatorAreFew asks for more than a node may be made to do.
func TestPingsForTheCoordinatorAreFew(t *testing.T) {
	start := time.Now()
	a := &asked{slots: make(chan struct{}, maxAsked)}
	admitted := 0
	for range 1000 {
		if a.admit(start) {
			admitted++
		}
	}
	if admitted != maxAsked {
		t.Errorf("%d at once", admitted)
	}
	admitted = 0
	for i := range 1000 {
		for len(a.slots) > 0 {
			<-a.slots
		}
		if a.admit(start.Add(time.Duration(i) * 10 * time.Millisecond)) {
			admitted++
		}
	}
	if want := askedBurst - maxAsked + int(10*time.Second/askedInterval); admitted < want-1 || admitted > want {
		t.Errorf("%d in ten seconds, want %d", admitted, want)
	}
}

func TestKindsOf(t *testing.T) {
	for types, want := range map[string][]PingKind{
		"disco":                       {PingDisco},
		"TSMP,disco":                  {PingDisco, PingTSMP},
		"disco,disco,disco":           {PingDisco},
		"ICMP,peerapi,x,,tsmp":        {PingICMP},
		"peerapi":                     nil,
		"c2n":                         nil,
		"DISCO, disco":                nil,
		"disco,TSMP,ICMP,disco,TSMP,": {PingDisco, PingTSMP, PingICMP},
	} {
		if got := kindsOf(&tailcfg.PingRequest{Types: types}); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", types, got, want)
		}
	}
}
