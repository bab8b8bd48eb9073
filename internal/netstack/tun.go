package netstack

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// batchSize is how many packets the device reads and writes at once.
const batchSize = 128

// A device is the link as WireGuard sees it.
type device struct {
	link   *link
	events chan tun.Event
	stop   sync.Once
}

var _ tun.Device = (*device)(nil)

func newDevice(link *link) *device {
	d := &device{link: link, events: make(chan tun.Event, 1)}
	d.events <- tun.EventUp
	return d
}

// Read waits for packets of the stack and copies as many as bufs has room for.
// After Close it returns what is still queued, then os.ErrClosed.
func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	pkt := d.next()
	if pkt == nil {
		return 0, os.ErrClosed
	}
	n := 0
	for pkt != nil {
		sizes[n] = copyPacket(bufs[n][offset:], pkt)
		pkt.DecRef()
		n++
		if n == len(bufs) {
			break
		}
		select {
		case pkt = <-d.link.queue:
		default:
			pkt = nil
		}
	}
	return n, nil
}

// next waits for a packet; it returns nil when the link is closed.
func (d *device) next() *stack.PacketBuffer {
	select {
	case pkt := <-d.link.queue:
		return pkt
	default:
	}
	select {
	case pkt := <-d.link.queue:
		return pkt
	case <-d.link.done:
		return nil
	}
}

// copyPacket returns the length of pkt, 0 when it is longer than dst.
func copyPacket(dst []byte, pkt *stack.PacketBuffer) int {
	if pkt.Size() > len(dst) {
		return 0
	}
	n := 0
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		skipped := min(skip, len(b))
		skip -= skipped
		n += copy(dst[n:], b[skipped:])
	}
	return n
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
	for _, buf := range bufs {
		packet := buf[offset:]
		protocol, ok := protocolOf(packet)
		if !ok {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		(*dispatcher).DeliverNetworkPacket(protocol, pkt)
		pkt.DecRef()
	}
	return len(bufs), nil
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

// MTU returns the length of the largest packet that Read returns.
func (d *device) MTU() (int, error) { return int(d.link.mtu), nil }

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
