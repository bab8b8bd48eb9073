package udp

import (
	"net"
	"net/netip"
)

// plain is the path of one datagram per call, which every PacketConn has.
type plain struct{ pc addrPortConn }

// addrPortConn is what *net.UDPConn and many others have besides ReadFrom and
// WriteTo, and what costs no memory per datagram.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

func newPlain(pc net.PacketConn) *plain {
	if c, ok := pc.(addrPortConn); ok {
		return &plain{c}
	}
	return &plain{anyConn{pc}}
}

func (p *plain) batchSize() int { return 1 }

func (p *plain) read(packets [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	for {
		n, addr, err := p.pc.ReadFromUDPAddrPort(packets[0])
		if err == nil {
			sizes[0], from[0] = n, unmap(addr)
			return 1, nil
		}
		if !passes(err) {
			return 0, err
		}
	}
}

func (p *plain) write(packets [][]byte, to netip.AddrPort) (first error) {
	for _, packet := range packets {
		if _, err := p.pc.WriteToUDPAddrPort(packet, to); err != nil {
			first = firstError(first, err)
			if !TooLarge(err) {
				break
			}
		}
	}
	return first
}

// anyConn gives a PacketConn the methods of an addrPortConn.
type anyConn struct{ net.PacketConn }

func (c anyConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return 0, netip.AddrPort{}, err
		}
		if addr, ok := addrPort(from); ok { // we could not answer the others
			return n, addr, nil
		}
	}
}

func (c anyConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(addr))
}
