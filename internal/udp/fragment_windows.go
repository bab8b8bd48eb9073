package udp

import "syscall"

const (
	ipDontFragment = 14 // ws2ipdef.h
	ipv6DontFrag   = 14
)

func forbidFragments(fd uintptr) (allow func(), err error) {
	return func() { setDontFragment(fd, 0) }, setDontFragment(fd, 1)
}

func setDontFragment(fd uintptr, to int) error {
	return setEither(
		syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IP, ipDontFragment, to),
		syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IPV6, ipv6DontFrag, to),
	)
}
