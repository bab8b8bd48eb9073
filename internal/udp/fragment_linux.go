package udp

import "syscall"

// forbidFragments sets the bit in IPv4's header and keeps the host from using
// what it knows about the path, whose MTU is ours to find out (RFC 8899).
func forbidFragments(fd uintptr) (allow func(), err error) {
	restore4, err4 := exchange(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_PROBE)
	restore6, err6 := exchange(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_PROBE)
	return func() { restore4(); restore6() }, setEither(err4, err6)
}

// exchange sets an option of a socket and returns what sets it back.
func exchange(fd, level, option, value int) (restore func(), err error) {
	before, err := syscall.GetsockoptInt(fd, level, option)
	if err == nil {
		err = syscall.SetsockoptInt(fd, level, option, value)
	}
	if err != nil {
		return func() {}, err
	}
	return func() { syscall.SetsockoptInt(fd, level, option, before) }, nil
}
