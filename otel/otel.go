// Package otel tells OpenTelemetry what a node counts. It is a module of its
// own, so that only programs that use OpenTelemetry depend on it; for Prometheus
// there is [meshnet.Server.WriteMetrics], without any dependency.
//
//	meshnet.packets           counter  {packet}   IP packets inside the tunnel, by network.io.direction
//	meshnet.io                counter  By         their bytes, by network.io.direction
//	meshnet.packets.dropped   counter  {packet}   packets that were not let in, by meshnet.reason
//	meshnet.up                gauge    1          1 while the node is a member of the mesh, else 0
//	meshnet.health.problems   gauge    {problem}  what keeps the node from working well
//	meshnet.peers             gauge    {peer}     peers, by meshnet.path: direct, relay, none
//	meshnet.peers.online      gauge    {peer}     peers that the coordinator calls online
//	meshnet.key.remaining     gauge    s          until the node's key expires, if it ever does
//
// A direction is "transmit" or "receive", as OpenTelemetry's semantic
// conventions have it.
package otel

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/meshnet-go/meshnet"
)

// Register has meter observe srv at each collection, until Unregister is called
// on what it returns. It does not start the node, and several nodes need a meter
// each, or one with attributes of its own: their metrics have the same names.
func Register(meter metric.Meter, srv *meshnet.Server) (metric.Registration, error) {
	i, err := newInstruments(meter)
	if err != nil {
		return nil, fmt.Errorf("otel: making the instruments of a node: %w", err)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		i.observeCounters(o, srv.Counters())
		i.observeStatus(o, srv.Status(), time.Now())
		return nil
	}, i.all()...)
	if err != nil {
		return nil, fmt.Errorf("otel: observing a node: %w", err)
	}
	return registration, nil
}

type instruments struct {
	packets, bytes, dropped              metric.Int64ObservableCounter
	up, problems, peers, online, keyLeft metric.Int64ObservableGauge
}

func newInstruments(meter metric.Meter) (*instruments, error) {
	m := maker{meter: meter}
	i := &instruments{
		packets:  m.counter("meshnet.packets", "{packet}", "IP packets inside the tunnel"),
		bytes:    m.counter("meshnet.io", "By", "Bytes of IP packets inside the tunnel"),
		dropped:  m.counter("meshnet.packets.dropped", "{packet}", "Packets that were not let in"),
		up:       m.gauge("meshnet.up", "1", "Whether the node is a member of the mesh"),
		problems: m.gauge("meshnet.health.problems", "{problem}", "What keeps the node from working well"),
		peers:    m.gauge("meshnet.peers", "{peer}", "Peers by the path that packets take to them"),
		online:   m.gauge("meshnet.peers.online", "{peer}", "Peers that the coordinator calls online"),
		keyLeft:  m.gauge("meshnet.key.remaining", "s", "Time until the node's key expires"),
	}
	return i, m.err
}

func (i *instruments) all() []metric.Observable {
	return []metric.Observable{i.packets, i.bytes, i.dropped, i.up, i.problems, i.peers, i.online, i.keyLeft}
}

// A maker makes instruments until one fails.
type maker struct {
	meter metric.Meter
	err   error
}

func (m *maker) counter(name, unit, description string) (c metric.Int64ObservableCounter) {
	if m.err == nil {
		c, m.err = m.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	}
	return c
}

func (m *maker) gauge(name, unit, description string) (g metric.Int64ObservableGauge) {
	if m.err == nil {
		g, m.err = m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	}
	return g
}

func with(key, value string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(key, value))
}

func (i *instruments) observeCounters(o metric.Observer, c meshnet.Counters) {
	sent, received := with("network.io.direction", "transmit"), with("network.io.direction", "receive")
	o.ObserveInt64(i.packets, int64(c.PacketsSent), sent)
	o.ObserveInt64(i.packets, int64(c.PacketsReceived), received)
	o.ObserveInt64(i.bytes, int64(c.BytesSent), sent)
	o.ObserveInt64(i.bytes, int64(c.BytesReceived), received)
	for reason, packets := range c.Dropped {
		o.ObserveInt64(i.dropped, int64(packets), with("meshnet.reason", reason))
	}
}

func (i *instruments) observeStatus(o metric.Observer, s *meshnet.Status, now time.Time) {
	var up, online int64
	if s.State == meshnet.StateRunning {
		up = 1
	}
	paths := map[string]int64{"direct": 0, "relay": 0, "none": 0}
	for _, p := range s.Peers {
		paths[kind(p.Path)]++
		if p.Online {
			online++
		}
	}
	o.ObserveInt64(i.up, up)
	o.ObserveInt64(i.problems, int64(len(s.Health)))
	o.ObserveInt64(i.online, online)
	for path, peers := range paths {
		o.ObserveInt64(i.peers, peers, with("meshnet.path", path))
	}
	if at := s.Self.KeyExpiry; !at.IsZero() {
		o.ObserveInt64(i.keyLeft, int64(at.Sub(now)/time.Second))
	}
}

func kind(p meshnet.Path) string {
	switch {
	case p.Direct.IsValid():
		return "direct"
	case p.Relay != "":
		return "relay"
	}
	return "none"
}
