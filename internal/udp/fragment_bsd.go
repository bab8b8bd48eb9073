//go:build darwin || freebsd

package udp

import (
	"runtime"
	"syscall"
)

const (
	ipDontFragDarwin  = 28 // netinet/in.h
	ipDontFragFreeBSD = 67
	ipv6DontFrag      = 62 // netinet6/in6.h, the same for both
)

func forbidFragments(fd uintptr) (allow func(), err error) {
	return func() { setDontFragment(fd, 0) }, setDontFragment(fd, 1)
}

func setDontFragment(fd uintptr, to int) error {
	option := ipDontFragFreeBSD
	if runtime.GOOS != "freebsd" {
		option = ipDontFragDarwin
	}
	return setEither(
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, option, to),
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, ipv6DontFrag, to),
	)
}
