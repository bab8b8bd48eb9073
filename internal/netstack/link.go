package netstack

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A link is the network interface as gVisor sees it. The device is its other
// end: it takes packets out of the queue, and delivers packets to the stack.
type link struct {
	mtus  atomic.Pointer[mtus] // never nil
	queue *queue
	done  chan struct{} // closed by Close
	stop  sync.Once

	dispatcher atomic.Pointer[stack.NetworkDispatcher] // nil when detached
}

// An endpoint is what newIP wants: a link that is its own queueing discipline as
// well, because gVisor's makes a list of each packet.
type endpoint interface {
	stack.LinkEndpoint
	stack.GSOEndpoint
	stack.QueueingDiscipline
}

var _ endpoint = (*link)(nil)

func newLink(mtu int) *link {
	l := &link{
		queue: newQueue(),
		done:  make(chan struct{}),
	}
	l.mtus.Store(newMTUs(mtu, nil))
	return l
}

// WritePacket implements stack.QueueingDiscipline.
func (l *link) WritePacket(pkt *stack.PacketBuffer) tcpip.Error {
	if isClosed(l.done) {
		return &tcpip.ErrClosedForSend{}
	}
	if !l.queue.put(pkt.IncRef()) {
		pkt.DecRef()
		return &tcpip.ErrNoBufferSpace{}
	}
	return nil
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for n, pkt := range pkts.AsSlice() {
		if err := l.WritePacket(pkt); err != nil {
			return n, err
		}
	}
	return pkts.Len(), nil
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(dispatcher stack.NetworkDispatcher) {
	if dispatcher == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&dispatcher)
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Close implements stack.NetworkLinkEndpoint and stack.QueueingDiscipline.
func (l *link) Close() {
	l.stop.Do(func() {
		close(l.done)
		l.queue.close()
	})
}

// MTU implements stack.NetworkLinkEndpoint. The link takes all that there is, a
// full payload behind an IPv6 header, because the cutter knows better than
// gVisor what the path carries.
func (l *link) MTU() uint32 { return maxMTU + header.IPv6MinimumSize }

// SetMTU implements stack.NetworkLinkEndpoint; the MTU is fixed.
func (l *link) SetMTU(uint32) {}

// Capabilities implements stack.NetworkLinkEndpoint. Packets come out of
// WireGuard, which has authenticated every byte of them: like the kernel's
// WireGuard, the stack does not check their checksums again.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// SupportedGSO implements stack.GSOEndpoint: TCP may hand over packets longer
// than the MTU, because the cutter cuts them.
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return 1 << 16 }

// The rest of stack.LinkEndpoint is for links with headers and addresses.

func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) SetOnCloseAction(func())                 {}
func (l *link) Wait()                                   {}
