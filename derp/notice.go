package derp

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// anotherConnection is what a client hears that loses its packets to another
// one with the same key: most often, a copy of its machine.
const anotherConnection = "another connection with the same node key gets the packets"

// tellHealth tells a client of something wrong with its connection, or, with
// no text, that all is well again.
func (s *Server) tellHealth(c *session, text string) {
	m := s.messages.get(FrameHealth, key.NodePublic{}, len(text))
	copy(m.data, text)
	s.tell(&c.destination, m)
}

// restarting returns the message that the relay is about to restart.
func (s *Server) restarting(in, patience time.Duration) *message {
	m := s.messages.get(FrameRestarting, key.NodePublic{}, 8)
	binary.BigEndian.PutUint32(m.data, inMilliseconds(in))
	binary.BigEndian.PutUint32(m.data[4:], inMilliseconds(patience))
	return m
}

func inMilliseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 0), math.MaxUint32))
}
