// Package simnet is an internet in memory, for tests: hosts with addresses,
// routers with NATs and firewalls, and links with latency, loss and cuts.
// Programs use it through what package net has: [Host.ListenPacket],
// [Host.Listen] and [Host.DialContext] return sockets that behave, and fail, as
// those of a kernel do.
//
//	            the internet: 198.18.0.0/15, 2001:db8::/64
//	 ──┬───────────────────────┬───────────────────────────┬──
//	   │                       │ 198.18.0.2                │ 198.18.0.3
//	   │                   ┌───┴────┐                  ┌───┴────┐
//	   │ link              │ Router │ NAT              │ Router │ carrier's NAT
//	   │                   └───┬────┘                  └───┬────┘
//	   │                       │ 192.168.1.1/24            │ 100.64.0.1/10
//	   │                     ──┴──┬──                    ──┴──┬──
//	   │ 198.18.0.1               │ 192.168.1.2               │ 100.64.0.2
//	┌──┴───┐                   ┌──┴───┐                   ┌───┴────┐
//	│ Host │                   │ Host │                   │ Router │ NAT, and so on
//	└──────┘                   └──────┘                   └────────┘
//
// The left half of it is
//
//	internet := simnet.New(1)
//	defer internet.Close()
//	server := internet.Host()
//	home := internet.Router(simnet.RouterConfig{NAT: simnet.EasyNAT()})
//	laptop := home.Host()
//	laptop.Link().Set(simnet.Quality{Latency: 10 * time.Millisecond, Loss: 0.01})
//
// Every host and every router hangs on one [Link], and packets go hop by hop
// over links and routers: what a NAT does to a packet it does when the packet
// is there. Connections are laid through the routers when they are dialed, and
// from then on only the links on their way matter to them.
//
// # Time
//
// All waiting goes through package time and what a testing/synctest bubble
// takes for blocked, so that a Network made in a bubble lives on its fake time,
// where hours of traffic take seconds. There is no goroutine per packet or per
// connection: one timer carries out what is due, and where a path has no delay
// the sender does. A Network belongs to the bubble it was made in.
//
// # Chance
//
// Loss, jitter and ports are drawn from the seed, by each direction of a link
// and each router for itself: the same packets in the same order meet the same
// fate.
package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Network is an internet with all that hangs on it. Its methods, and those of
// its parts, may be called at any time by several goroutines.
type Network struct {
	start   time.Time
	done    chan struct{} // closed by Close
	packets sync.Pool     // of *packet

	// mu guards everything below, and all routers, NATs, links and hosts.
	// Inboxes, listeners and halves of connections have locks of their own for
	// those who read and write: they are taken after mu, never before it.
	mu sync.Mutex
	schedule
	rand     *rand.Rand // for the seeds of others
	root     *Router
	hosts    []*Host
	circuits map[*circuit]struct{}
	names    map[string][]netip.Addr
	tap      func(Datagram)
	closed   bool
}

// New returns an internet without anybody on it. What is left to chance follows
// from the seed.
func New(seed uint64) *Network {
	n := &Network{
		start:    time.Now(),
		done:     make(chan struct{}),
		packets:  sync.Pool{New: func() any { return new(packet) }},
		rand:     rand.New(rand.NewPCG(seed, 0)),
		circuits: make(map[*circuit]struct{}),
		names:    make(map[string][]netip.Addr),
	}
	n.root = newRouter(n)
	n.root.inside = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8::/64")}
	return n
}

// Close ends everything: sockets and listeners are closed, connections too, and
// nothing is delivered any more. It never fails.
func (n *Network) Close() error {
	n.lock()
	defer n.unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	close(n.done)
	for _, h := range n.hosts {
		h.closeSockets()
	}
	for c := range n.circuits {
		c.fail(errNetworkClosed)
	}
	n.schedule.stop()
	return nil
}

// Internet returns the router in the middle, the one above all others. It has
// neither NAT nor firewall, and no link of its own.
func (n *Network) Internet() *Router { return n.root }

// Host puts a host on the open internet: [Router.Host] of [Network.Internet].
func (n *Network) Host(addrs ...netip.Addr) *Host { return n.root.Host(addrs...) }

// Router puts a router on the open internet: [Router.Router] of
// [Network.Internet].
func (n *Network) Router(cfg RouterConfig) *Router { return n.root.Router(cfg) }

// Name gives addresses to a name for [Host.DialContext], instead of those that
// it had. No addresses take the name away.
func (n *Network) Name(name string, addrs ...netip.Addr) {
	n.lock()
	defer n.unlock()
	n.names[name] = slices.Clone(addrs)
}

// newRand returns a source of chance that nobody else draws from.
func (n *Network) newRand() *rand.Rand {
	return rand.New(rand.NewPCG(n.rand.Uint64(), n.rand.Uint64()))
}

// misuse ends a test that describes a network that cannot be.
func misuse(format string, args ...any) {
	panic("simnet: " + fmt.Sprintf(format, args...))
}
