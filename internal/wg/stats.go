package wg

import (
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// PeerStats is what WireGuard counts of one peer.
type PeerStats struct {
	RxBytes, TxBytes uint64    // of WireGuard packets, with their overhead
	LastHandshake    time.Time // zero when there was none
}

// Stats returns the counters of all peers with which anything was exchanged. It
// costs time in proportion to the number of peers.
func (d *Device) Stats() (map[key.NodePublic]PeerStats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats, err := d.awakeStats()
	if err != nil {
		return nil, err
	}
	delete(stats, nobody)
	for k, p := range d.peers {
		if p.past != (PeerStats{}) {
			stats[k] = p.past.plus(stats[k])
		}
	}
	return stats, nil
}

// parseStats picks the counters out of a configuration as WireGuard prints it:
// lines of name=value, those of a peer after its public_key. What it does not
// understand it skips.
func parseStats(text string) map[key.NodePublic]PeerStats {
	stats := make(map[key.NodePublic]PeerStats)
	var peer key.NodePublic
	var inPeer bool
	var sec int64
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
		if name == "public_key" {
			var err error
			peer, err = key.ParseNodePublic("nodekey:" + value)
			inPeer = err == nil
		}
		if !inPeer {
			continue
		}
		s := stats[peer]
		switch name {
		case "rx_bytes":
			s.RxBytes, _ = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			s.TxBytes, _ = strconv.ParseUint(value, 10, 64)
		case "last_handshake_time_sec":
			sec, _ = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			if nsec, _ := strconv.ParseInt(value, 10, 64); sec != 0 || nsec != 0 {
				s.LastHandshake = time.Unix(sec, nsec)
			}
		}
		stats[peer] = s
	}
	return stats
}
