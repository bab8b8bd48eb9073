package meshnet

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// The lines of Prometheus' text format, version 0.0.4.
var metricLine = regexp.MustCompile(`^(# (HELP|TYPE) meshnet_[a-z_]+ .+|meshnet_[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"\})? [0-9.]+)$`)

func wantMetrics(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}
	for line := range strings.Lines(text) {
		if !metricLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("not a line of the format: %q", line)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	var text strings.Builder
	if err := new(Server).WriteMetrics(&text); err != nil {
		t.Error(err)
	}
	wantMetrics(t, text.String(), `meshnet_state{state="stopped"} 1`, `meshnet_up 0`, `meshnet_packets_total{direction="sent"} 0`)

	out, in := meet(t, "tcp", a, b)
	if _, err := out.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Dial(testCtx(t), "tcp", "b:9"); err == nil {
		t.Error("somebody listens")
	}
	if c := a.Counters(); c.PacketsSent < 3 || c.BytesSent < 5000 || c.PacketsReceived == 0 || c.BytesReceived == 0 {
		t.Errorf("a counts %+v", c)
	}
	text.Reset()
	if err := a.WriteMetrics(&text); err != nil {
		t.Error(err)
	}
	wantMetrics(t, text.String(), `meshnet_up 1`, `meshnet_health_problems 0`, `meshnet_peers_online 1`, `meshnet_peers{path="none"} 0`)
	if err := a.WriteMetrics(fullWriter{}); !errors.Is(err, errFull) {
		t.Errorf("writing to a full disk: %v", err)
	}
}

var errFull = errors.New("full")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func TestMetricsOfAStatus(t *testing.T) {
	var m metrics
	m.traffic(Counters{Dropped: map[string]uint64{"no rule": 3, "a \"b\\\n": 1}})
	m.node(&Status{State: StateRunning, Health: []string{"x"}, Self: PeerStatus{KeyExpiry: time.Unix(1_800_000_000, 0)}})
	m.peers([]PeerStatus{
		{Online: true, Path: Path{Direct: netip.MustParseAddrPort("192.0.2.1:1")}, BytesSent: 1, BytesReceived: 2},
		{Path: Path{Relay: "fra"}, BytesSent: 10, BytesReceived: 20},
		{},
	})
	wantMetrics(t, m.text.String(),
		`meshnet_dropped_packets_total{reason="no rule"} 3`,
		`meshnet_dropped_packets_total{reason="a \"b\\\n"} 1`,
		`meshnet_key_expiry_timestamp_seconds 1800000000`,
		`meshnet_health_problems 1`,
		`meshnet_peers{path="direct"} 1`,
		`meshnet_peers{path="relay"} 1`,
		`meshnet_peers{path="none"} 1`,
		`meshnet_peers_online 1`,
		`meshnet_wireguard_bytes{direction="sent"} 11`,
		`meshnet_wireguard_bytes{direction="received"} 22`)
}

func TestDroppedPacketsAreCounted(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	ip, _ := b.IPs()
	strangers := allowAll()
	strangers[0].SrcIPs = []string{"100.64.9.9"}
	s.push(b, &tailcfg.MapResponse{PacketFilter: strangers}, func(m *netmap.Map) bool { return slices.Equal(m.Rules[0].SrcIPs, strangers[0].SrcIPs) })
	s.tell(a, b, nil)
	if _, err := a.Dial(testCtx(t), "tcp", netip.AddrPortFrom(ip, 9).String()); err == nil {
		t.Fatal("nothing is allowed")
	}
	if got := b.Counters().Dropped["no rule"]; got == 0 {
		t.Errorf("b counts %+v", b.Counters())
	}
}
