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

// TooLarge reports whether [Conn.WriteBatch] or [Conn.WriteWhole] failed because
// of a packet's size.
func TooLarge(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }

// Congested reports whether a write failed because the host had no room for a
// packet at that moment, which says nothing about where it was to go.
func Congested(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
}
