package udp

import "syscall"

const (
	ipDontFragment = 14 // ws2ipdef.h
	ipv6DontFrag   = 14
)

func dontFragment(fd uintptr) error {
	return setEither(
		syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IP, ipDontFragment, 1),
		syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IPV6, ipv6DontFrag, 1),
	)
}
