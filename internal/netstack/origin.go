package netstack

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// maxOrigins bounds what strangers can make a socket remember.
const maxOrigins = 4096

// Origins remember, for a UDP socket on all addresses of a stack that has
// several, which of them each peer wrote to, because the answer must leave
// from there. With one address of a family there is nothing to remember.
type origins struct {
	mu     sync.Mutex
	byPeer map[netip.AddrPort]netip.Addr
}

// note remembers that peer wrote to local, one of our addresses.
func (o *origins) note(peer netip.AddrPort, local netip.Addr, addrs []netip.Addr) {
	family := 0
	for _, addr := range addrs {
		if addr.Is4() == local.Is4() {
			family++
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if family < 2 {
		delete(o.byPeer, peer)
		return
	}
	if o.byPeer == nil || len(o.byPeer) >= maxOrigins {
		o.byPeer = make(map[netip.AddrPort]netip.Addr)
	}
	o.byPeer[peer] = local
}

// of returns the address that peer wrote to last, if it is still one of addrs,
// ours.
func (o *origins) of(peer netip.AddrPort, addrs []netip.Addr) (netip.Addr, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	local, ok := o.byPeer[peer]
	return local, ok && slices.Contains(addrs, local)
}

// arrivedAt returns the address of ours that a datagram was sent to.
func arrivedAt(cm tcpip.ReceivableControlMessages) netip.Addr {
	if cm.HasIPv6PacketInfo {
		return fromTCPIP(cm.IPv6PacketInfo.Addr)
	}
	return fromTCPIP(cm.PacketInfo.LocalAddr)
}

// sendFrom sends a datagram from an address of the caller's choice, which
// gVisor's sockets on all addresses cannot do for IPv4.
func (c *udpConn) sendFrom(from netip.Addr, p []byte, to netip.AddrPort) error {
	switch {
	case c.isClosed():
		return net.ErrClosed
	case isClosed(c.write.wait()):
		return os.ErrDeadlineExceeded
	case tooLong(p, to.Addr()):
		return syscall.EMSGSIZE
	}
	route, err := c.stack.ip.FindRoute(nicID, toTCPIP(from), toTCPIP(to.Addr()), familyOf(from), false)
	if err != nil {
		return errno(err)
	}
	defer route.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.UDPMinimumSize + int(route.MaxHeaderLength()),
		Payload:            buffer.MakeWithData(p),
	})
	defer pkt.DecRef()
	pkt.TransportProtocolNumber = udp.ProtocolNumber
	length := uint16(header.UDPMinimumSize + len(p))
	h := header.UDP(pkt.TransportHeader().Push(header.UDPMinimumSize))
	h.Encode(&header.UDPFields{SrcPort: uint16(c.local.(*net.UDPAddr).Port), DstPort: to.Port(), Length: length})
	sum := h.CalculateChecksum(checksum.Combine(route.PseudoHeaderChecksum(udp.ProtocolNumber, length), pkt.Data().Checksum()))
	if sum != 0xffff { // as gVisor does: 0 would mean that there is no checksum
		sum = ^sum
	}
	h.SetChecksum(sum)
	if err := route.WritePacket(stack.NetworkHeaderParams{Protocol: udp.ProtocolNumber, TTL: route.DefaultTTL()}, pkt); err != nil {
		return errno(err)
	}
	return nil
}
