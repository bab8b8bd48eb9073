package meshnet

import "strings"

// Counters count the IP packets of a node since it was started, inside the
// tunnel: without the overhead of WireGuard and of what is beneath.
type Counters struct {
	PacketsSent, BytesSent uint64
	// PacketsReceived and BytesReceived count what the packet filter let in.
	PacketsReceived, BytesReceived uint64
	// Dropped counts the packets that it did not let in, by reason: for example
	// "no rule" for those that the mesh's policy does not allow.
	Dropped map[string]uint64
}

// Counters returns the counts of now; they are zero before the start.
func (s *Server) Counters() Counters {
	n := s.running()
	if n == nil {
		return Counters{}
	}
	c := n.tun.Counters()
	counters := Counters{
		PacketsSent: c.PacketsOut, BytesSent: c.BytesOut,
		PacketsReceived: c.PacketsIn, BytesReceived: c.BytesIn,
		Dropped: make(map[string]uint64, len(c.Dropped)),
	}
	for verdict, packets := range c.Dropped {
		counters.Dropped[strings.TrimPrefix(verdict.String(), "drop: ")] += packets
	}
	return counters
}
