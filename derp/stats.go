package derp

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// Stats are the figures of a [Server] since it was made.
type Stats struct {
	Connections int // now, those that log in too
	Clients     int // different keys that are connected now
	Home        int // connections of clients for whom this relay is home
	Remote      int // keys that are connected to other relays of the region
	Links       int // relays of the region to which this one is connected
	// Refused connections have failed to log in: bad keys, not admitted, or
	// too many.
	Refused uint64
	Traffic
}

// ClientStats are the figures of one connection.
type ClientStats struct {
	Key   key.NodePublic
	Addr  netip.AddrPort // from where; zero when unknown
	Since time.Time
	Home  bool      // the client says that this relay is its home
	Flags PeerFlags // what kind of client it is
	Live  bool      // packets for Key go here, and not to a newer connection
	Traffic
}

// Traffic counts packets. Of a [Server]: in from its clients and from other
// relays, out to both. Of one connection: in is what the client sent.
type Traffic struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64
	// Unreachable packets had a destination who is not connected.
	Unreachable uint64
	// Overflowed packets had a destination who did not take them fast enough.
	// They count at the destination.
	Overflowed uint64
}

func (t *Traffic) add(o Traffic) {
	t.PacketsIn += o.PacketsIn
	t.BytesIn += o.BytesIn
	t.PacketsOut += o.PacketsOut
	t.BytesOut += o.BytesOut
	t.Unreachable += o.Unreachable
	t.Overflowed += o.Overflowed
}

// Stats returns the relay's figures.
func (s *Server) Stats() Stats {
	st := s.registry.stats()
	st.Refused, st.Traffic = s.past.get()
	for _, c := range s.registry.sessions() {
		if c.home.Load() {
			st.Home++
		}
		st.Traffic.add(c.traffic())
	}
	for _, l := range s.registry.linked() {
		st.Traffic.add(l.traffic())
	}
	return st
}

// Clients returns the figures of all connections that have logged in, oldest
// first.
func (s *Server) Clients() []ClientStats {
	var all []ClientStats
	for _, c := range s.registry.sessions() {
		all = append(all, ClientStats{
			Key: c.key, Addr: c.addr, Since: c.since, Home: c.home.Load(),
			Flags: c.flags, Live: c.live.Load(), Traffic: c.traffic(),
		})
	}
	slices.SortFunc(all, func(a, b ClientStats) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Key.Compare(b.Key))
	})
	return all
}

// counters count what goes through a destination. Each is written by one
// goroutine, so that clients do not share them.
type counters struct {
	packetsIn, bytesIn   atomic.Uint64 // by the reader
	packetsOut, bytesOut atomic.Uint64 // by the writer
	unreachable          atomic.Uint64 // by the reader
}

func (c *counters) received(m *message) {
	c.packetsIn.Add(1)
	c.bytesIn.Add(uint64(len(m.data)))
}

func (c *counters) sent(m *message) {
	if m.typ == FrameRecvPacket || m.typ == frameForwardPacket {
		c.packetsOut.Add(1)
		c.bytesOut.Add(uint64(len(m.data)))
	}
}

func (d *destination) traffic() Traffic {
	return Traffic{
		PacketsIn:   d.count.packetsIn.Load(),
		BytesIn:     d.count.bytesIn.Load(),
		PacketsOut:  d.count.packetsOut.Load(),
		BytesOut:    d.count.bytesOut.Load(),
		Unreachable: d.count.unreachable.Load(),
		Overflowed:  d.out.overflowed(),
	}
}

// past is what connections that have ended leave to the statistics.
type past struct {
	mu      sync.Mutex // guards what is below
	refused uint64
	traffic Traffic
}

func (p *past) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused++
}

// keep adds what a connection did.
func (p *past) keep(t Traffic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traffic.add(t)
}

func (p *past) get() (refused uint64, t Traffic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused, p.traffic
}
