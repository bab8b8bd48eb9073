// Package tunwrap is the TUN device that WireGuard sees: any inner device, the
// user's own or the stack's, behind the node's packet filter.
//
//	WireGuard ── Write ── TSMP? answered ── filter? dropped ── inner.Write
//	WireGuard ── Read  ── flow recorded ──────────────────────  inner.Read
//
// Whichever device is inside, the filter holds, and messages between nodes
// (TSMP, IP protocol 99) never get there; that a peer refuses a connection is
// passed on as ICMP.
package tunwrap

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/tsmp"
)

// Device is a [tun.Device] around another. Closing it closes the inner one.
type Device struct {
	tun.Device // the inner one: File, MTU, Name, Events, BatchSize and Close are its own

	inject   func(packet []byte)
	filter   atomic.Pointer[filter.Filter] // nil drops everything
	taps     taps
	counters counters

	mu    sync.Mutex
	flows filter.Flows // guarded by mu, which is taken once for a batch
}

// New wraps inner. What the device itself has to say to peers goes to inject as
// whole IP packets, which must then come out of inner's Read; inject must not
// wait, and owns the packet.
func New(inner tun.Device, inject func(packet []byte)) *Device {
	return &Device{Device: inner, inject: inject}
}

// SetFilter puts a filter into force. Until the first call, and after one with
// nil, nothing comes in.
func (d *Device) SetFilter(f *filter.Filter) { d.filter.Store(f) }

// Filter returns the filter in force.
func (d *Device) Filter() *filter.Filter { return d.filter.Load() }

// Read reads a batch of packets on their way out, remembering where they go,
// so that answers are let in.
func (d *Device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := d.Device.Read(bufs, sizes, offset)
	if n == 0 {
		return n, err
	}
	var bytes uint64
	taps := d.taps.load()
	d.mu.Lock()
	for i := range n {
		packet := bufs[i][offset : offset+sizes[i]]
		parsed := filter.Parse(packet)
		d.flows.RecordOutbound(parsed)
		taps.see(Seen{Packet: parsed, Data: packet, Outgoing: true})
		bytes += uint64(sizes[i])
	}
	d.mu.Unlock()
	d.counters.sent(uint64(n), bytes)
	return n, err
}

// Write passes on those packets of a batch that the filter allows. It reorders
// bufs, and reports all of them as written: what the filter drops is gone.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	all := len(bufs)
	if allowed := d.allowed(bufs, offset); len(allowed) > 0 {
		if _, err := d.Device.Write(allowed, offset); err != nil {
			return 0, err
		}
	}
	return all, nil
}

// allowed moves the packets that may pass to the front of bufs and returns
// them.
func (d *Device) allowed(bufs [][]byte, offset int) [][]byte {
	f := d.filter.Load()
	allowed := bufs[:0]
	taps := d.taps.load()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, buf := range bufs {
		packet := buf[offset:]
		parsed := filter.Parse(packet)
		verdict := f.Check(parsed, &d.flows)
		d.counters.received(verdict, len(packet))
		taps.see(Seen{Packet: parsed, Data: packet, Verdict: verdict})
		switch {
		case tsmp.Is(packet):
			if icmp := d.handleTSMP(packet, verdict); icmp != nil {
				allowed = append(allowed, slices.Concat(make([]byte, offset), icmp))
			}
		case verdict.Accepted():
			allowed = append(allowed, buf)
		case verdict == filter.DropNoRule && parsed.StartsTCP():
			d.reject(parsed)
		}
	}
	return allowed
}

// handleTSMP acts on the message of another node. It returns what there is to
// say of it to the stack, or nil.
func (d *Device) handleTSMP(packet []byte, verdict filter.Verdict) []byte {
	p, err := tsmp.Parse(packet)
	if err != nil || !verdict.Accepted() {
		return nil
	}
	switch m := p.Message.(type) {
	case tsmp.Ping:
		d.send(p.Reply(tsmp.Pong{Data: m.Data}))
	case tsmp.Reject:
		return refusal(p.Src, p.Dst, m)
	}
	return nil
}

// reject tells a peer that its connection was refused, so that the one who
// dials need not wait for a timeout.
func (d *Device) reject(p filter.Packet) {
	d.send(tsmp.Packet{Src: p.Dst.Addr(), Dst: p.Src.Addr(), Message: tsmp.Reject{
		Proto:   p.Proto,
		Reason:  tsmp.ReasonACL,
		SrcPort: p.Src.Port(),
		DstPort: p.Dst.Port(),
	}})
}

func (d *Device) send(p tsmp.Packet) {
	if packet, err := p.Append(nil); err == nil {
		d.inject(packet)
	}
}
