package main

import (
	"encoding/json"
	"errors"
	"expvar"
	"io"
	"strconv"
	"strings"

	"tailscale.com/derp/derpserver"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// relayed reads the relay's counters, which it shows as JSON, and those of drops
// as Prometheus' text alone.
func relayed(relay *derpserver.Server) (wire.Relayed, error) {
	var c struct {
		In  uint64 `json:"packets_received"`
		Out uint64 `json:"packets_sent"`
	}
	if err := json.Unmarshal([]byte(relay.ExpVar(false).String()), &c); err != nil {
		return wire.Relayed{}, err
	}
	dropped, err := sumOf("derp_packets_dropped")
	return wire.Relayed{In: c.In, Out: c.Out, Dropped: dropped}, err
}

// sumOf adds up a counter that has labels.
func sumOf(name string) (sum uint64, err error) {
	v, ok := expvar.Get(name).(interface{ WritePrometheus(io.Writer, string) })
	if !ok {
		return 0, errors.New("there is no counter " + name)
	}
	var text strings.Builder
	v.WritePrometheus(&text, name)
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		n, err := strconv.ParseUint(line[strings.LastIndexByte(line, ' ')+1:len(line)-1], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
