package netstack

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A transit is a second stack of gVisor's on the same link: what is not sent to
// an address of ours arrives there. It takes packets to any address and sends
// from any, and nobody listens on it, so that all that comes there is a stray:
// a port of ours is not one of every host behind us. (One stack with two
// interfaces would not do: where a stack that can dial itself takes packets to
// any address, it takes every source for its own.)
type transit struct {
	*link
	ip         *stack.Stack
	own        *atomic.Pointer[[]netip.Addr] // our addresses
	strays     *strays
	dispatcher atomic.Pointer[stack.NetworkDispatcher] // in the place of the link's
}

func newTransit(s *Stack, mtu int) (*transit, error) {
	t := &transit{link: s.link, own: &s.addrs, strays: s.strays}
	ip, err := newIP(t, false, mtu)
	if err != nil {
		return nil, err
	}
	ip.SetPromiscuousMode(nicID, true) // these fail for unknown interfaces
	ip.SetSpoofing(nicID, true)
	t.ip = ip
	t.strays.of(ip, false)
	return t, nil
}

// close ends what passes through, if anything can.
func (t *transit) close() {
	if t != nil {
		t.ip.Close()
	}
}

// wait waits for the stack's goroutines.
func (t *transit) wait() {
	if t != nil {
		t.ip.Wait()
	}
}

// Attach implements stack.NetworkLinkEndpoint.
func (t *transit) Attach(dispatcher stack.NetworkDispatcher) {
	if dispatcher == nil {
		t.dispatcher.Store(nil)
		return
	}
	t.dispatcher.Store(&dispatcher)
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (t *transit) IsAttached() bool { return t.dispatcher.Load() != nil }

// concerns reports whether a packet is to an address that is not ours. No
// transit concerns none.
func (t *transit) concerns(packet []byte) bool {
	if t == nil {
		return false
	}
	var to netip.Addr
	switch header.IPVersion(packet) {
	case header.IPv4Version:
		if len(packet) < header.IPv4MinimumSize {
			return false
		}
		to = netip.AddrFrom4(header.IPv4(packet).DestinationAddress().As4())
	case header.IPv6Version:
		if len(packet) < header.IPv6MinimumSize {
			return false
		}
		to = netip.AddrFrom16(header.IPv6(packet).DestinationAddress().As16())
	default:
		return false
	}
	return !slices.Contains(*t.own.Load(), to)
}

// An arrival is what becomes of a packet to an address that is not ours.
type arrival byte

const (
	lost    arrival = iota // nobody knows what to do with it
	taken                  // by the stack: TCP, UDP, and errors about them
	echoing                // an echo request
)

// judge says what becomes of a packet. It is lost when the stack would do more
// with it than carry TCP and UDP, such as answer for others.
func judge(packet []byte) arrival {
	if header.IPVersion(packet) == header.IPv6Version {
		return judge6(packet)
	}
	ip := header.IPv4(packet)
	if !ip.IsValid(len(packet)) {
		return lost
	}
	switch tcpip.TransportProtocolNumber(ip.Protocol()) {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		return taken
	case header.ICMPv4ProtocolNumber:
		message := header.ICMPv4(ip.Payload())
		switch {
		case ip.More() || ip.FragmentOffset() > 0 || len(message) < header.ICMPv4MinimumSize:
		case message.Type() == header.ICMPv4Echo && int(ip.TotalLength()) == len(packet):
			return echoing
		case message.Type() == header.ICMPv4DstUnreachable:
			return taken
		}
	}
	return lost
}

func judge6(packet []byte) arrival {
	ip := header.IPv6(packet)
	if !ip.IsValid(len(packet)) {
		return lost
	}
	switch ip.NextHeader() {
	case uint8(header.TCPProtocolNumber), uint8(header.UDPProtocolNumber):
		return taken
	case header.IPv6FragmentHeader:
		if payload := ip.Payload(); len(payload) >= header.IPv6FragmentHeaderSize &&
			(payload[0] == uint8(header.TCPProtocolNumber) || payload[0] == uint8(header.UDPProtocolNumber)) {
			return taken
		}
	case uint8(header.ICMPv6ProtocolNumber):
		message := header.ICMPv6(ip.Payload())
		switch {
		case len(message) < header.ICMPv6MinimumSize:
		case message.Type() == header.ICMPv6EchoRequest && header.IPv6MinimumSize+len(message) == len(packet):
			return echoing
		case message.Type() == header.ICMPv6DstUnreachable || message.Type() == header.ICMPv6PacketTooBig:
			return taken
		}
	}
	return lost
}
