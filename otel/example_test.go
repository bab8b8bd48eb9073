package otel_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/otel"
)

// A program would have an exporter for its reader.
func ExampleRegister() {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))

	srv := &meshnet.Server{Hostname: "node"} // not started yet
	registration, err := otel.Register(provider.Meter("example.com/program"), srv)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister()

	var found metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &found); err != nil {
		log.Fatal(err)
	}
	for _, m := range found.ScopeMetrics[0].Metrics {
		if m.Name == "meshnet.up" {
			fmt.Println(m.Name, m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)
		}
	}
	// Output: meshnet.up 0
}
