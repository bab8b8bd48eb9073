package udp

import "syscall"

// dontFragment sets the bit in IPv4's header and keeps the host from using
// what it knows about the path, whose MTU is ours to find out (RFC 8899).
func dontFragment(fd uintptr) error {
	return setEither(
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_PROBE),
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_PROBE),
	)
}
