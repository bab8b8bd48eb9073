package router

import (
	"io"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// Config says which hosts there are, each behind a device, and what the ways
// between them are like. Ways that are not named are perfect.
type Config struct {
	Hosts []netip.Addr
	Ways  []Way
}

// Way is the way between two hosts, which is the same in both directions.
type Way struct {
	A, B netip.Addr
	Link
}

// Counts are what a router has done.
type Counts struct{ Passed, Dropped uint64 }

// A Router passes packets on between devices.
type Router struct {
	hosts map[netip.Addr]*host
	lines map[[2]netip.Addr]*direction

	passed, dropped atomic.Uint64
}

// host is where packets for an address go.
type host struct {
	device io.ReadWriteCloser
	queue  *queue
}

// direction is a line with what guards it.
type direction struct {
	mu sync.Mutex
	*line
}

// Start starts a router; each host has a device, which gives and takes an IPv4
// packet at a time. It goes on until Close.
func Start(c Config, devices []io.ReadWriteCloser) *Router {
	r := &Router{hosts: make(map[netip.Addr]*host), lines: make(map[[2]netip.Addr]*direction)}
	for i, addr := range c.Hosts {
		r.hosts[addr] = &host{devices[i], newQueue()}
	}
	for i, w := range c.Ways {
		r.lines[[2]netip.Addr{w.A, w.B}] = &direction{line: newLine(w.Link, uint64(2*i+1))}
		r.lines[[2]netip.Addr{w.B, w.A}] = &direction{line: newLine(w.Link, uint64(2*i+2))}
	}
	for _, h := range r.hosts {
		go r.receive(h)
		go r.deliver(h)
	}
	return r
}

// Close ends the router, and closes the devices.
func (r *Router) Close() {
	for _, h := range r.hosts {
		h.queue.close()
		h.device.Close()
	}
}

// Counts returns what the router has done so far.
func (r *Router) Counts() Counts { return Counts{Passed: r.passed.Load(), Dropped: r.dropped.Load()} }

// receive reads what a host sends.
func (r *Router) receive(from *host) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.device.Read(buf)
		if err != nil {
			return
		}
		if n >= 20 && buf[0]>>4 == 4 {
			r.forward(buf[:n])
		}
	}
}

func (r *Router) forward(data []byte) {
	src, dst := netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
	to := r.hosts[dst]
	if to == nil {
		return
	}
	arrives := wire.Now()
	if d := r.lines[[2]netip.Addr{src, dst}]; d != nil {
		d.mu.Lock()
		at, ok := d.take(arrives, len(data))
		d.mu.Unlock()
		if !ok {
			r.dropped.Add(1)
			return
		}
		arrives = at
	}
	to.queue.put(arrives, data)
}

// nap is the longest that deliver sleeps while packets are under way: one may
// come that arrives before those that there are.
const nap = 250 * time.Microsecond

// deliver hands a host its packets when they arrive. It has a thread, because
// timers of the runtime may be a millisecond late.
func (r *Router) deliver(to *host) {
	runtime.LockOSThread()
	for {
		data, wait, ok := to.queue.due(wire.Now)
		switch {
		case !ok:
			return
		case wait > 0:
			t := unix.NsecToTimespec(int64(min(wait, nap)))
			unix.Nanosleep(&t, nil)
		default:
			to.device.Write(data) // a full device loses packets, as devices do
			to.queue.done(data)
			r.passed.Add(1)
		}
	}
}
