package simnet

import (
	"slices"
	"syscall"
	"time"
)

// keepalive is after how long a connection that stands still fails: package
// net probes after 15 s of silence, and gives up after nine probes 15 s apart.
const keepalive = 150 * time.Second

// A circuit is a connection as the network has it: two directions over the
// same links. What the routers did when it was dialed holds for its life.
// Guarded by Network.mu.
type circuit struct {
	net         *Network
	there, back half // from the dialer, and to it

	cuts      int           // links of it that are cut
	stalledAt time.Duration // since when any is
	over      bool          // both directions have ended
}

// newCircuit lays a connection over the wires that its request has come by.
func newCircuit(n *Network, path []*wire) *circuit {
	c := &circuit{net: n}
	back := slices.Clone(path)
	slices.Reverse(back)
	for i, w := range back {
		back[i] = w.opposite()
	}
	c.there.init(c, path)
	c.back.init(c, back)
	n.circuits[c] = struct{}{}
	for _, w := range path {
		if _, twice := w.link.circuits[c]; twice { // of a host that dials itself through its NAT
			continue
		}
		w.link.circuits[c] = struct{}{}
		if w.link.cut {
			c.stall()
		}
	}
	return c
}

// stall is a cut of one of its links.
func (c *circuit) stall() {
	c.cuts++
	if c.cuts == 1 {
		c.stalledAt = c.net.now
		c.net.at(c.net.now+keepalive, c)
	}
}

// resume is the end of a cut.
func (c *circuit) resume() {
	c.cuts--
	if c.cuts == 0 {
		c.there.resume()
		c.back.resume()
	}
}

// fire is the end of patience, if the connection still stands still.
func (c *circuit) fire() {
	if c.cuts > 0 && c.net.now >= c.stalledAt+keepalive {
		c.fail(syscall.ETIMEDOUT)
	}
}

// fail ends both directions.
func (c *circuit) fail(err error) {
	for _, h := range []*half{&c.there, &c.back} {
		h.mu.Lock()
		h.fail(err)
		h.mu.Unlock()
	}
}

// settle forgets a connection of which both directions have ended.
func (c *circuit) settle() {
	if c.over || !c.there.done || !c.back.done {
		return
	}
	c.over = true
	delete(c.net.circuits, c)
	for _, w := range c.there.wires {
		delete(w.link.circuits, c)
	}
}
