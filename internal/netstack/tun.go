package netstack

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// batchSize is how many packets the device reads and writes at once.
const batchSize = 128

// A device is the link as WireGuard sees it.
type device struct {
	link    *link
	transit *transit // nil when packets to others are dropped; does not change
	events  chan tun.Event
	stop    sync.Once

	joiners joiners

	reading sync.Mutex
	cutter  cutter // guarded by reading
}

var _ tun.Device = (*device)(nil)

func newDevice(link *link) *device {
	d := &device{link: link, events: make(chan tun.Event, 1)}
	d.events <- tun.EventUp
	return d
}

// Read waits for packets of the stack, and returns as many as there are and
// bufs has room for; the rest of a packet that was cut comes with the next Read.
// After Close it returns what is still queued, then os.ErrClosed.
func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	if !d.cutter.busy() {
		pkt := d.link.queue.take(true)
		if pkt == nil {
			return 0, os.ErrClosed
		}
		d.cutter.start(pkt, d.link.mtus.Load())
	}
	for n := range bufs {
		if !d.cutter.busy() {
			pkt := d.link.queue.take(false)
			if pkt == nil {
				return n, nil
			}
			d.cutter.start(pkt, d.link.mtus.Load())
		}
		sizes[n] = d.cutter.next(bufs[n][offset:])
	}
	return len(bufs), nil
}

// Write gives packets to the stack, which copies them.
func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	if isClosed(d.link.done) {
		return 0, os.ErrClosed
	}
	dispatcher := d.link.dispatcher.Load()
	if dispatcher == nil {
		return 0, os.ErrClosed
	}
	joiner := d.joiners.get(*dispatcher)
	defer d.joiners.put(joiner)
	passing := false
	for _, buf := range bufs {
		packet := buf[offset:]
		if d.transit.concerns(packet) {
			passing = true
		} else if protocol, ok := protocolOf(packet); ok {
			joiner.add(packet, protocol)
		}
	}
	if passing {
		d.pass(bufs, offset)
	}
	return len(bufs), nil
}

// pass gives the stack those packets of a batch that concern others.
func (d *device) pass(bufs [][]byte, offset int) {
	dispatcher := d.transit.dispatcher.Load()
	if dispatcher == nil {
		return
	}
	joiner := d.joiners.get(*dispatcher)
	defer d.joiners.put(joiner)
	for _, buf := range bufs {
		packet := buf[offset:]
		if !d.transit.concerns(packet) {
			continue
		}
		switch judge(packet) {
		case taken:
			protocol, _ := protocolOf(packet)
			joiner.add(packet, protocol)
		case echoing:
			d.transit.strays.takeEcho(packet)
		}
	}
}

func protocolOf(packet []byte) (tcpip.NetworkProtocolNumber, bool) {
	switch header.IPVersion(packet) {
	case header.IPv4Version:
		return header.IPv4ProtocolNumber, true
	case header.IPv6Version:
		return header.IPv6ProtocolNumber, true
	default:
		return 0, false
	}
}

// MTU returns the length of the largest packet that Read returns to addresses
// whose MTU is not raised (see Stack.SetMTUs).
func (d *device) MTU() (int, error) { return d.link.mtus.Load().base, nil }

// BatchSize returns how many packets Read and Write handle at once.
func (d *device) BatchSize() int { return batchSize }

// Name returns the name of the device, the same for all.
func (d *device) Name() (string, error) { return "netstack", nil }

// File returns nil: there is no file behind the device.
func (d *device) File() *os.File { return nil }

// Events returns a channel with one event, tun.EventUp.
func (d *device) Events() <-chan tun.Event { return d.events }

// Close ends Read and Write. The stack lives on, unreachable, until it is
// closed itself.
func (d *device) Close() error {
	d.stop.Do(func() {
		d.link.Close()
		close(d.events)
	})
	return nil
}
