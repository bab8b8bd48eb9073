package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
)

// A joiner is the opposite of a cutter: it joins the TCP packets of a batch
// that follow each other, so that gVisor walks its layers once for many.
type joiner struct{ gro gro.GRO }

// add gives the joiner a packet, which it copies. It may pass it on at once,
// or with others later, at the latest when it is put back.
func (j *joiner) add(packet []byte, protocol tcpip.NetworkProtocolNumber) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	defer pkt.DecRef()
	pkt.NetworkProtocolNumber = protocol
	pkt.RXChecksumValidated = true // see link.Capabilities
	j.gro.Enqueue(pkt)
}

// flush passes on what is left. One GRO.Flush passes on only the oldest packet
// of each bucket of its hash table (gVisor 20260905), and a bucket holds eight.
func (j *joiner) flush() {
	const bucketSize = 8
	for range bucketSize {
		j.gro.Flush()
	}
}

// joiners are those not in use: WireGuard writes from one goroutine per peer.
type joiners struct{ pool sync.Pool }

func (p *joiners) get(dispatcher stack.NetworkDispatcher) *joiner {
	j, ok := p.pool.Get().(*joiner)
	if !ok {
		j = new(joiner)
		j.gro.Init(true)
	}
	j.gro.Dispatcher = dispatcher
	return j
}

// put flushes j and takes it back.
func (p *joiners) put(j *joiner) {
	j.flush()
	j.gro.Dispatcher = nil
	p.pool.Put(j)
}
