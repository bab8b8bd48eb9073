package meshtest

import (
	"cmp"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/internal/simnet"
)

// A Link is how a node hangs on its network: the cable, or the radio. It treats
// both directions alike. The zero value is an Ethernet that
// takes no time and loses nothing.
type Link struct {
	// Latency is how long a packet takes, one way.
	Latency time.Duration
	// Jitter is the most that chance adds to that, packet by packet, so that
	// UDP packets overtake each other.
	Jitter time.Duration
	// Loss is the part of packets that is lost, from 0 to 1. To connections
	// with relays and coordinator it is delay, as TCP makes it.
	Loss float64
	// MTU is the longest IP packet of UDP, in bytes; longer ones vanish, and are
	// not cut into fragments. 0 is 1500, as nearly everywhere on the internet.
	// Below 1360 not all that nodes send each other directly comes through.
	MTU int
	// BitsPerSecond is how fast it is; what would have to wait for more than
	// 200 ms is dropped. 0 is no limit.
	BitsPerSecond int64
}

func (l Link) quality() simnet.Quality {
	return simnet.Quality{Latency: l.Latency, Jitter: l.Jitter, Loss: l.Loss, MTU: cmp.Or(l.MTU, 1500), Rate: l.BitsPerSecond}
}

// SetLink changes a node's link, for what is sent from now on.
func (m *Mesh) SetLink(node *meshnet.Server, link Link) {
	m.t.Helper()
	m.machine(node).host.Link().Set(link.quality())
}

// Cut cuts a node off, as if its cable had a break: nothing comes through, and
// nobody is told.
func (m *Mesh) Cut(node *meshnet.Server) {
	m.t.Helper()
	machine := m.machine(node)
	machine.cut.Store(true)
	machine.host.Link().Cut()
}

// Heal undoes Cut. The connections that stood still go on, unless that lasted
// for longer than they endure.
func (m *Mesh) Heal(node *meshnet.Server) {
	m.t.Helper()
	machine := m.machine(node)
	machine.cut.Store(false)
	machine.host.Link().Heal()
}

// Move takes a node to another network, where it has other addresses, over a
// link with the properties of the old one. A node that was cut off is not there.
// The node is told, as systems tell programs, so that it need not find out.
func (m *Mesh) Move(node *meshnet.Server, to *Network) {
	m.t.Helper()
	machine := m.machine(node)
	machine.host.Move(to.router)
	machine.cut.Store(false)
	node.NetworkChanged()
}
