package otel

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/meshtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// collect returns what a reader has, as "name{key=value}".
func collect(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				name := m.Name
				for _, a := range p.Attributes.ToSlice() {
					name += fmt.Sprintf("{%s=%s}", a.Key, a.Value.Emit())
				}
				found[name] = p.Value
			}
		}
	}
	return found
}

func TestRegister(t *testing.T) {
	network := meshtest.New(t)
	network.Node("peer")
	node := network.Node("node")
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	registration, err := Register(provider.Meter("test"), node)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Dial(t.Context(), "tcp", "peer:1"); err == nil {
		t.Fatal("somebody listens")
	}
	got := collect(t, reader)
	for name, want := range map[string]int64{"meshnet.up": 1, "meshnet.health.problems": 0, "meshnet.peers.online": 1} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v; all are %v", name, value, got)
		}
	}
	for _, name := range []string{
		"meshnet.packets{network.io.direction=transmit}", "meshnet.packets{network.io.direction=receive}",
		"meshnet.io{network.io.direction=transmit}", "meshnet.io{network.io.direction=receive}",
	} {
		if got[name] == 0 {
			t.Errorf("%s is 0; all are %v", name, got)
		}
	}
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	if got := collect(t, reader); len(got) != 0 {
		t.Errorf("after Unregister there are %v", got)
	}
}

// What a node seldom has.
func TestStatus(t *testing.T) {
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
	i, err := newInstruments(meter)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	_, err = meter.RegisterCallback(func(_ context.Context, o api.Observer) error {
		i.observeCounters(o, meshnet.Counters{Dropped: map[string]uint64{"no rule": 3}})
		i.observeStatus(o, &meshnet.Status{
			Health: []string{"The clock is wrong."},
			Self:   meshnet.PeerStatus{KeyExpiry: now.Add(time.Minute)},
			Peers: []meshnet.PeerStatus{
				{Path: meshnet.Path{Direct: netip.MustParseAddrPort("192.0.2.1:1")}},
				{Path: meshnet.Path{Relay: "fra"}},
				{},
				{},
			},
		}, now)
		return nil
	}, i.all()...)
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, reader)
	for name, want := range map[string]int64{
		"meshnet.packets.dropped{meshnet.reason=no rule}": 3,
		"meshnet.up":                         0,
		"meshnet.health.problems":            1,
		"meshnet.key.remaining":              60,
		"meshnet.peers{meshnet.path=direct}": 1,
		"meshnet.peers{meshnet.path=relay}":  1,
		"meshnet.peers{meshnet.path=none}":   2,
	} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
}

func TestMeterThatDoesNothing(t *testing.T) {
	if _, err := Register(noop.NewMeterProvider().Meter("test"), new(meshnet.Server)); err != nil {
		t.Error(err)
	}
}
