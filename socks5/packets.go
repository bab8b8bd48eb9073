package socks5

import (
	"net"
	"net/netip"
)

// packets is a [net.PacketConn] that reads and writes without allocating, as
// [net.UDPConn] does.
type packets interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
	Close() error
}

// packetsOf makes do with what pc has.
func packetsOf(pc net.PacketConn) packets {
	if p, ok := pc.(packets); ok {
		return p
	}
	return anyPackets{pc}
}

type anyPackets struct{ net.PacketConn }

func (p anyPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := p.ReadFrom(b)
	return n, addrPort(from), err
}

func (p anyPackets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return p.WriteTo(b, net.UDPAddrFromAddrPort(to))
}
