package filter

import (
	"container/list"
	"net/netip"
)

// maxFlows is how many flows are remembered, as in Tailscale (v1.102.5,
// wgengine/filter).
const maxFlows = 512

// Flows remembers the datagrams that we sent, so that answers to them pass:
// the 512 flows that were used last. The zero Flows is ready; it outlives any
// [Filter]. It is not safe for concurrent use: callers lock it, best once for
// a batch of packets.
type Flows struct {
	byFlow map[flow]*list.Element
	recent list.List // of flow, the last used first
}

// flow is a kind of packet that we expect.
type flow struct {
	src, dst netip.AddrPort
	proto    uint8
}

// RecordOutbound notes a packet that we send. Every packet on its way out must
// pass here, also those that the node injects beside the network stack.
func (f *Flows) RecordOutbound(p Packet) {
	if p.class != classDatagram {
		return
	}
	answer := flow{src: p.Dst, dst: p.Src, proto: p.Proto}
	if f.used(answer) {
		return
	}
	if f.byFlow == nil {
		f.byFlow = make(map[flow]*list.Element)
	}
	if f.recent.Len() >= maxFlows {
		oldest := f.recent.Back()
		delete(f.byFlow, f.recent.Remove(oldest).(flow))
	}
	f.byFlow[answer] = f.recent.PushFront(answer)
}

// expects reports whether an inbound packet answers one that we sent.
func (f *Flows) expects(p *Packet) bool {
	return f != nil && f.used(flow{src: p.Src, dst: p.Dst, proto: p.Proto})
}

// used moves a known flow to the front, and reports false for an unknown one.
func (f *Flows) used(fl flow) bool {
	e, known := f.byFlow[fl]
	if known {
		f.recent.MoveToFront(e)
	}
	return known
}
