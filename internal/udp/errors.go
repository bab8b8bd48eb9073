//go:build !windows

package udp

import (
	"errors"
	"syscall"
)

// passes reports whether a read failed because of a datagram that we sent
// earlier: ICMP said that it did not arrive, and a read is where the host says
// so. The next read is not affected.
func passes(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EMSGSIZE, syscall.ENOPROTOOPT:
		return true
	}
	return false
}

// tooLarge reports whether a write failed because of the packet's size.
func tooLarge(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }
