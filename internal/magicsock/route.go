package magicsock

import (
	"math"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/udp"
)

// route is the way that packets to a peer take. Routes do not change; a peer
// gets another one.
type route struct {
	direct netip.AddrPort // invalid: none
	by     *udp.Conn      // the socket for direct; nil: the ordinary one
	mtu    int            // larger messages do not go direct, but through the relay
	region int            // of the relay; 0 when none is to be used
	spare  int            // region for messages that are too large; 0 when there is none
	wake   int            // messages larger than this let the loop know at once
}

// nowhere is for those who are no peers any more.
var nowhere = &route{wake: math.MaxInt}

// place is where a peer may be found.
type place struct {
	home  int  // its home region as the coordinator has it, or 0
	last  int  // region that its last packet came through, or 0
	fresh bool // that packet is so recent that the peer is still connected there
}

// region returns the region to reach the peer through. Its home is right, but
// while no connection to that is open and the peer was just heard elsewhere,
// the way back is quicker. A peer whose home is not known may be where it was
// last heard, and failing that, where we are. It is what Tailscale's magicsock
// does (v1.102.5), except that we trust the way back for a time, where it
// waits for the relay to say that the peer has gone.
func (p place) region(known, connected func(region int) bool, own int) int {
	heard := p.last != 0 && known(p.last)
	switch {
	case p.home == 0 || !known(p.home):
		if heard {
			return p.last
		}
		return own
	case heard && p.fresh && !connected(p.home) && connected(p.last):
		return p.last
	}
	return p.home
}
