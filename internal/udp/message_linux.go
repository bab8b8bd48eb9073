package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"
)

// message is struct mmsghdr: what goes into and comes out of recvmmsg and
// sendmmsg.
type message struct {
	head syscall.Msghdr
	size uint32 // bytes received or sent
}

// setLen stores a length in a field whose type depends on the architecture.
func setLen[T int32 | uint32 | uint64](field *T, n int) { *field = T(n) }

// sockaddr is room for an address of either family.
type sockaddr = syscall.RawSockaddrInet6

// getAddr reads the address that the kernel left in sa.
func getAddr(sa *sockaddr) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	switch sa.Family {
	case syscall.AF_INET:
		sa4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port)
	case syscall.AF_INET6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(sa.Scope_id), 10))
		}
		return netip.AddrPortFrom(addr, port)
	}
	return netip.AddrPort{}
}

// putAddr writes an address into sa for a socket of one family, and returns
// how many bytes it has there.
func putAddr(sa *sockaddr, addr netip.AddrPort, inet6 bool) (size uint32, err error) {
	ip := addr.Addr()
	if !ip.IsValid() || ip.Is6() && !inet6 {
		return 0, &net.AddrError{Err: "address of another family than the socket's", Addr: ip.String()}
	}
	*sa = sockaddr{}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], addr.Port())
	if !inet6 {
		sa4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		sa4.Family = syscall.AF_INET
		sa4.Addr = ip.As4()
		return syscall.SizeofSockaddrInet4, nil
	}
	sa.Family = syscall.AF_INET6
	sa.Addr = ip.As16()
	if zone := ip.Zone(); zone != "" {
		if sa.Scope_id, err = scope(zone); err != nil {
			return 0, err
		}
	}
	return syscall.SizeofSockaddrInet6, nil
}

// scope returns the number of an IPv6 zone, which is a number or the name of
// an interface.
func scope(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(i.Index), nil
}

// segmentControl is a control message of the size that a message is to be cut
// into:
//
//	+--------------------------------+-------+------+-------------+-----+
//	| length, 8 bytes; 4 on 32 bits  | level | type | size, 16 bit| pad |
//	+--------------------------------+-------+------+-------------+-----+
type segmentControl struct {
	head syscall.Cmsghdr
	size uint16
	_    [6]byte
}

func (c *segmentControl) set(size int) {
	c.head.Level = syscall.IPPROTO_UDP
	c.head.Type = udpSegment
	c.head.SetLen(syscall.CmsgLen(2))
	c.size = uint16(size)
}

// joinedSize returns the size that the datagrams of a received message have,
// or 0 when it is one datagram. The kernel says so in a control message like
// segmentControl, with 32 bits for the size.
func joinedSize(control []byte) int {
	for len(control) >= syscall.SizeofCmsghdr {
		head := (*syscall.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(head.Len)
		if size < syscall.SizeofCmsghdr || size > len(control) {
			return 0
		}
		value := control[syscall.CmsgLen(0):size]
		if head.Level == syscall.IPPROTO_UDP && head.Type == udpGRO && len(value) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(value)))
		}
		next := syscall.CmsgSpace(size - syscall.CmsgLen(0))
		control = control[min(next, len(control)):]
	}
	return 0
}
