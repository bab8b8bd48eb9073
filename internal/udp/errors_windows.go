package udp

import (
	"errors"
	"syscall"
)

// Numbers of Winsock that the standard library does not name.
const (
	wsaEMSGSIZE     = syscall.Errno(10040)
	wsaENETUNREACH  = syscall.Errno(10051)
	wsaENETRESET    = syscall.Errno(10052)
	wsaECONNRESET   = syscall.WSAECONNRESET
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

// tooLarge reports whether a write failed because of the packet's size.
func tooLarge(err error) bool { return errors.Is(err, wsaEMSGSIZE) }
