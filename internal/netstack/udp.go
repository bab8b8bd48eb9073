package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// The longest datagrams: a total length of 65,535 bytes less the IPv4 header,
// or a payload length of 65,535 bytes in IPv6, less the UDP header in both.
const (
	maxDatagram4 = 65535 - header.IPv4MinimumSize - header.UDPMinimumSize
	maxDatagram6 = 65535 - header.UDPMinimumSize
)

// DialUDP returns a connection that exchanges datagrams with remote only, from
// local or, when that is the zero Addr, from the address that fits. The network,
// "udp", "udp4" or "udp6", is only shown. It is also a net.PacketConn.
func (s *Stack) DialUDP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	c, err := s.dialUDP(ctx, network, local, remote)
	if err != nil {
		return nil, opError("dial", "connect", network, nil, net.UDPAddrFromAddrPort(remote), err)
	}
	return c, nil
}

func (s *Stack) dialUDP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (*udpConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	remote, err := s.destination(remote)
	if err != nil {
		return nil, err
	}
	ep, queue, err := s.newEndpoint(udp.ProtocolNumber, familyOf(remote.Addr()))
	if err != nil {
		return nil, err
	}
	if local.IsValid() {
		if err := ep.Bind(tcpip.FullAddress{Addr: toTCPIP(local)}); err != nil {
			ep.Close()
			return nil, errno(err)
		}
	}
	if err := ep.Connect(toFull(remote)); err != nil {
		ep.Close()
		return nil, errno(err)
	}
	bound, _ := ep.GetLocalAddress() // cannot fail for UDP
	return &udpConn{socket: socket{
		stack:   s,
		ep:      ep,
		queue:   queue,
		network: network,
		local:   net.UDPAddrFromAddrPort(fromFull(bound)),
		remote:  net.UDPAddrFromAddrPort(remote),
		closed:  make(chan struct{}),
	}}, nil
}

// ListenUDP receives datagrams on addr for "udp", "udp4" or "udp6". An invalid
// or unspecified address means all addresses, those of later SetAddrs
// included, which "udp" serves in both families; answers then leave from the
// address that was written to. Port 0 chooses a free port. What it returns is
// also a net.Conn without a remote address.
func (s *Stack) ListenUDP(network string, addr netip.AddrPort) (net.PacketConn, error) {
	c, err := s.listenUDP(network, addr)
	if err != nil {
		return nil, opError("listen", "bind", network, nil, net.UDPAddrFromAddrPort(addr), err)
	}
	return c, nil
}

func (s *Stack) listenUDP(network string, addr netip.AddrPort) (*udpConn, error) {
	where, err := bindingFor(network, "udp", addr)
	if err != nil {
		return nil, err
	}
	ep, queue, err := s.newEndpoint(udp.ProtocolNumber, where.family)
	if err != nil {
		return nil, err
	}
	if err := where.apply(ep); err != nil {
		ep.Close()
		return nil, err
	}
	c := &udpConn{socket: socket{
		stack:   s,
		ep:      ep,
		queue:   queue,
		network: network,
		local:   net.UDPAddrFromAddrPort(where.shown),
		closed:  make(chan struct{}),
	}, where: where}
	if !where.bind.Addr().IsValid() {
		c.origins = new(origins)
		ep.SocketOptions().SetReceivePacketInfo(true)
		ep.SocketOptions().SetIPv6ReceivePacketInfo(true)
	}
	return c, nil
}

// A udpConn is a net.Conn and a net.PacketConn.
type udpConn struct {
	socket
	read    readHalf
	write   writeHalf
	where   binding
	origins *origins // of a socket on all addresses
}

// Read reads one datagram; what does not fit into p of it is lost.
func (c *udpConn) Read(p []byte) (int, error) {
	n, _, err := c.receive(p)
	return n, err
}

// ReadFrom reads one datagram; what does not fit into p of it is lost.
func (c *udpConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.receive(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without allocating an address, as
// [net.UDPConn] has it.
func (c *udpConn) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	return c.receive(p)
}

func (c *udpConn) receive(p []byte) (int, netip.AddrPort, error) {
	buf := p
	if len(buf) == 0 {
		buf = make([]byte, 1) // gVisor does not read into nothing
	}
	result, _, err := c.readInto(&c.read, buf, tcpip.ReadOptions{NeedRemoteAddr: true})
	if err != nil {
		return 0, netip.AddrPort{}, c.opError("read", "read", c.remote, err)
	}
	from := fromFull(result.RemoteAddr)
	if c.origins != nil {
		c.origins.note(from, arrivedAt(result.ControlMessages), *c.stack.addrs.Load())
	}
	return min(result.Count, len(p)), from, nil
}

// Write sends p as one datagram to the remote address.
func (c *udpConn) Write(p []byte) (int, error) {
	if c.remote == nil {
		return 0, c.opError("write", "write", nil, syscall.EDESTADDRREQ)
	}
	if err := c.send(p, c.remote.(*net.UDPAddr).AddrPort().Addr(), nil); err != nil {
		return 0, c.opError("write", "write", c.remote, err)
	}
	return len(p), nil
}

// WriteTo sends p as one datagram to addr, a *net.UDPAddr. As in package net,
// a connection from Dial has its remote address and takes no other.
func (c *udpConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if err := c.writeTo(p, addr); err != nil {
		return 0, c.opError("write", "sendto", addr, err)
	}
	return len(p), nil
}

// WriteToUDPAddrPort is WriteTo without a net.Addr, as [net.UDPConn] has it.
func (c *udpConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if err := c.writeToAddrPort(p, to); err != nil {
		return 0, c.opError("write", "sendto", net.UDPAddrFromAddrPort(to), err)
	}
	return len(p), nil
}

func (c *udpConn) writeTo(p []byte, addr net.Addr) error {
	udpAddr, ok := addr.(*net.UDPAddr)
	if !ok || udpAddr == nil {
		return syscall.EINVAL
	}
	return c.writeToAddrPort(p, udpAddr.AddrPort())
}

func (c *udpConn) writeToAddrPort(p []byte, to netip.AddrPort) error {
	if c.remote != nil {
		return net.ErrWriteToConnected
	}
	if err := c.where.takes(to.Addr().Unmap()); err != nil {
		return err
	}
	to, err := c.stack.destination(to)
	if err != nil {
		return err
	}
	if c.origins != nil {
		if from, ok := c.origins.of(to, *c.stack.addrs.Load()); ok {
			return c.sendFrom(from, p, to)
		}
	}
	full := toFull(to)
	return c.send(p, to.Addr(), &full)
}

// send waits until there is room for a datagram in the send buffer. A nil to
// means the remote address.
func (c *udpConn) send(p []byte, ip netip.Addr, to *tcpip.FullAddress) error {
	if tooLong(p, ip) {
		return syscall.EMSGSIZE
	}
	c.write.writing.Lock()
	defer c.write.writing.Unlock()
	err := c.await(waiter.WritableEvents, c.write.wait(), nil, func() tcpip.Error {
		c.write.from.Reset(p)
		_, err := c.ep.Write(&c.write.from, tcpip.WriteOptions{To: to})
		return err
	})
	c.write.from.Reset(nil)
	return err
}

func tooLong(p []byte, to netip.Addr) bool {
	if to.Is4() {
		return len(p) > maxDatagram4
	}
	return len(p) > maxDatagram6
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *udpConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline says until when reads wait; writing is not touched.
func (c *udpConn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read.deadline, t) }

// SetWriteDeadline says until when writes wait; reading is not touched.
func (c *udpConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write.deadline, t) }
