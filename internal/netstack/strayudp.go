package netstack

import (
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// takeUDP is gVisor's handler for datagrams that are no socket's. Of those that
// it does not take the sender is told. What follows the first one of a flow
// before that is accepted is lost.
func (st *strays) takeUDP(ip *stack.Stack, own bool, id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	if !st.wanted[kindUDP].Load() {
		return false
	}
	if !st.startWaiting(id) {
		return true
	}
	stray := &Stray{
		Network: NetworkUDP,
		Src:     netip.AddrPortFrom(fromTCPIP(id.RemoteAddress), id.RemotePort),
		Dst:     netip.AddrPortFrom(fromTCPIP(id.LocalAddress), id.LocalPort),
		Own:     own,
	}
	stray.place = st.claim(stray.Src.Addr())
	if stray.place == nil {
		st.endWaiting(id)
		return true
	}
	first := pkt.Clone()
	stray.request = &udpRequest{strays: st, ip: ip, id: id, first: first, place: stray.place}
	if !st.offer(stray) {
		st.endWaiting(id)
		stray.place.release()
		first.DecRef()
	}
	return true
}

// startWaiting reports false when the flow does so already.
func (st *strays) startWaiting(id stack.TransportEndpointID) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.waiting[id] {
		return false
	}
	st.waiting[id] = true
	return true
}

func (st *strays) endWaiting(id stack.TransportEndpointID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.waiting, id)
}

// A udpRequest is the first datagram of a flow.
type udpRequest struct {
	strays *strays
	ip     *stack.Stack
	id     stack.TransportEndpointID
	first  *stack.PacketBuffer
	place  *place
}

func (r *udpRequest) accept() (net.Conn, error) {
	defer r.end()
	s := r.strays.stack
	if isClosed(s.done) {
		return nil, net.ErrClosed
	}
	peer := net.UDPAddrFromAddrPort(netip.AddrPortFrom(fromTCPIP(r.id.RemoteAddress), r.id.RemotePort))
	queue := new(waiter.Queue)
	ep, err := udp.NewForwarderRequest(r.ip, r.id, r.first).CreateEndpoint(queue)
	if err != nil {
		return nil, opError("accept", "accept", "udp", nil, peer, errno(err))
	}
	return &strayFlow{&udpConn{socket: socket{
		stack:   s,
		ep:      ep,
		queue:   queue,
		network: "udp",
		local:   net.UDPAddrFromAddrPort(netip.AddrPortFrom(fromTCPIP(r.id.LocalAddress), r.id.LocalPort)),
		remote:  peer,
		closed:  make(chan struct{}),
	}}, r.place}, nil
}

// reject says that the port is unreachable.
func (r *udpRequest) reject() {
	defer r.end()
	if r.first.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		if p, ok := r.ip.NetworkProtocolInstance(header.IPv4ProtocolNumber).(stack.RejectIPv4WithHandler); ok {
			p.SendRejectionError(r.first, stack.RejectIPv4WithICMPPortUnreachable, true)
		}
		return
	}
	if p, ok := r.ip.NetworkProtocolInstance(header.IPv6ProtocolNumber).(stack.RejectIPv6WithHandler); ok {
		p.SendRejectionError(r.first, stack.RejectIPv6WithICMPPortUnreachable, true)
	}
}

func (r *udpRequest) end() {
	r.first.DecRef()
	r.strays.endWaiting(r.id)
}

// A strayFlow gives its place back when it is closed.
type strayFlow struct {
	*udpConn
	place *place
}

func (c *strayFlow) Close() error {
	c.place.release()
	return c.udpConn.Close()
}
