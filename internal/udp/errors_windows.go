package udp

import (
	"errors"
	"syscall"
)

// Numbers of Winsock that the standard library does not name.
const (
	wsaEINTR        = syscall.Errno(10004)
	wsaEWOULDBLOCK  = syscall.Errno(10035)
	wsaEMSGSIZE     = syscall.Errno(10040)
	wsaENETUNREACH  = syscall.Errno(10051)
	wsaENETRESET    = syscall.Errno(10052)
	wsaECONNRESET   = syscall.WSAECONNRESET
	wsaENOBUFS      = syscall.Errno(10055)
	wsaECONNREFUSED = syscall.Errno(10061)
	wsaEHOSTUNREACH = syscall.Errno(10065)
)

// passes reports whether a read failed because of a datagram that we sent
// earlier, and ICMP said that it did not arrive or lived too long, or because
// of one that does not fit its buffer. The next read is not affected.
func passes(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case wsaECONNRESET, wsaENETRESET, wsaECONNREFUSED, wsaENETUNREACH, wsaEHOSTUNREACH, wsaEMSGSIZE:
		return true
	}
	return false
}

// TooLarge reports whether [Conn.WriteBatch] or [Conn.WriteWhole] failed because
// of a packet's size. Winsock has a number of its own for that; the one of
// package syscall is for sockets that are not the host's.
func TooLarge(err error) bool {
	return errors.Is(err, wsaEMSGSIZE) || errors.Is(err, syscall.EMSGSIZE)
}

// Congested reports whether a write failed because the host had no room for a
// packet at that moment, which says nothing about where it was to go.
func Congested(err error) bool {
	return errors.Is(err, wsaENOBUFS) || errors.Is(err, wsaEWOULDBLOCK) || errors.Is(err, wsaEINTR)
}
