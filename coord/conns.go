package coord

import (
	"slices"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	maxConns = maxNodes + 4*maxStrangers // at once
	// maxStrangers is how many of them may be of machines that have no node:
	// anybody can be one, and must not keep out those who are not.
	maxStrangers = 1024
	// maxConnsPerMachine is generous: a machine needs one, and when its network
	// changes, the last one may go unnoticed for a while.
	maxConnsPerMachine = 8
)

// conns knows the connections of machines, and how many there may be. The zero
// value is ready.
type conns struct {
	mu        sync.Mutex
	total     int
	strangers int
	machines  map[key.MachinePublic]*machineConns
}

// machineConns are the connections of one machine. There is at least one.
type machineConns struct {
	conns  []*controlConn // oldest first
	pace   pace           // of all its requests
	member bool           // the machine has a node; else conns count as strangers
}

// add notes a connection, or reports false when there may be no more. The
// caller closes the oldest connection of a machine that would have too many.
func (c *conns) add(conn *controlConn, member bool) (oldest *controlConn, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machines[conn.Peer()]
	if m == nil {
		m = &machineConns{member: member}
	}
	if c.total >= maxConns || !m.member && c.strangers >= maxStrangers {
		return nil, false
	}
	if c.machines == nil {
		c.machines = make(map[key.MachinePublic]*machineConns)
	}
	c.machines[conn.Peer()] = m
	c.count(m, 1)
	m.conns = append(m.conns, conn)
	if excess := len(m.conns) - maxConnsPerMachine; excess > 0 {
		oldest = m.conns[excess-1] // those before it are being closed
	}
	return oldest, true
}

// remove takes a connection out that has ended.
func (c *conns) remove(conn *controlConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machines[conn.Peer()]
	c.count(m, -1)
	m.conns = slices.DeleteFunc(m.conns, func(other *controlConn) bool { return other == conn })
	if len(m.conns) == 0 {
		delete(c.machines, conn.Peer())
	}
}

// pace counts a request of the machine and returns how long it has to wait.
func (c *conns) pace(machine key.MachinePublic, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.machines[machine]; m != nil {
		return m.pace.take(now)
	}
	return 0 // its connection has just ended
}

// joined says that a machine has a node now.
func (c *conns) joined(machine key.MachinePublic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.machines[machine]; m != nil && !m.member {
		c.count(m, -len(m.conns))
		m.member = true
		c.count(m, len(m.conns))
	}
}

func (c *conns) count(m *machineConns, n int) {
	c.total += n
	if !m.member {
		c.strangers += n
	}
}
