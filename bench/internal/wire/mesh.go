package wire

import (
	"encoding/json"
	"net/netip"
)

// Infra is the configuration of an infrastructure: a coordinator and a relay.
type Infra struct {
	Addr netip.Addr // of the host
	// Relay is a region in JSON as the coordinator gives it to nodes; when it is
	// empty, there is a relay in the same process.
	Relay json.RawMessage `json:",omitempty"`
	// RelayOnly leaves the coordinator out.
	RelayOnly bool
	// Peers is how many nodes are members that nobody has ever seen.
	Peers int
}

// Mesh is what an infrastructure says when it is ready.
type Mesh struct {
	ControlURL string
	AuthKey    string
	Relay      json.RawMessage // the region, in JSON
}

// Relayed is what a relay's own counters say of packets.
type Relayed struct{ In, Out, Dropped uint64 }
