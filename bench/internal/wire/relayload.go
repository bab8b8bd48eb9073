package wire

import (
	"encoding/json"
	"time"
)

// RelayLoad is the configuration of clients of a relay.
type RelayLoad struct {
	Relay json.RawMessage // the region, in JSON
}

// Flood asks for pairs of clients that send packets as fast as they go in.
type Flood struct {
	Pairs, Size int // Size in bytes
}

// Delivered is how many packets have come through the relay at a moment.
type Delivered struct {
	Packets int64
	At      time.Duration // by Now
}
