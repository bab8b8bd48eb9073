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

func dontFragment(fd uintptr) error {
	option := ipDontFragFreeBSD
	if runtime.GOOS != "freebsd" {
		option = ipDontFragDarwin
	}
	return setEither(
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, option, 1),
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, ipv6DontFrag, 1),
	)
}
