package netstack

import (
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// takeTCP is gVisor's handler for packets that are no connection's. Those that
// it does not take are answered with a reset.
func (st *strays) takeTCP(connections *tcp.Forwarder, id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	if !st.wanted[kindTCP].Load() {
		return false
	}
	st.mu.Lock()
	full := st.full(fromTCPIP(id.RemoteAddress))
	st.mu.Unlock()
	return full || connections.HandlePacket(id, pkt)
}

// handleSYN runs in a goroutine of its own, of which there are MaxStrays at
// most. gVisor ignores further SYNs of the same connection until the request is
// complete.
func (st *strays) handleSYN(r *tcp.ForwarderRequest, own bool) {
	id := r.ID()
	stray := &Stray{
		Network: NetworkTCP,
		Src:     netip.AddrPortFrom(fromTCPIP(id.RemoteAddress), id.RemotePort),
		Dst:     netip.AddrPortFrom(fromTCPIP(id.LocalAddress), id.LocalPort),
		Own:     own,
	}
	stray.place = st.claim(stray.Src.Addr())
	if stray.place == nil {
		r.Complete(false)
		return
	}
	stray.request = &tcpRequest{stack: st.stack, forwarded: r, place: stray.place}
	if !st.offer(stray) {
		r.Complete(false)
		stray.place.release()
	}
}

// A tcpRequest is a connection that a peer wants.
type tcpRequest struct {
	stack     *Stack
	forwarded *tcp.ForwarderRequest
	place     *place
}

func (r *tcpRequest) accept() (net.Conn, error) {
	id := r.forwarded.ID()
	if isClosed(r.stack.done) {
		r.forwarded.Complete(false)
		return nil, net.ErrClosed
	}
	queue := new(waiter.Queue)
	ep, err := r.forwarded.CreateEndpoint(queue)
	r.forwarded.Complete(err != nil)
	peer := netip.AddrPortFrom(fromTCPIP(id.RemoteAddress), id.RemotePort)
	if err != nil {
		return nil, opError("accept", "accept", "tcp", nil, net.TCPAddrFromAddrPort(peer), errno(err))
	}
	if isClosed(r.stack.done) { // Close may have missed ep, and waits for it
		abort(ep)
		return nil, net.ErrClosed
	}
	return &strayConn{r.stack.newTCPConn("tcp", ep, queue, toFull(peer)), r.place}, nil
}

func (r *tcpRequest) reject() { r.forwarded.Complete(true) }

// A strayConn gives its place back when it is closed.
type strayConn struct {
	*tcpConn
	place *place
}

func (c *strayConn) Close() error {
	c.place.release()
	return c.tcpConn.Close()
}
