//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netmon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// openRoutes returns a routing socket (route(4)), which is told of links,
// addresses and routes.
func openRoutes() (watch, error) {
	syscall.ForkLock.RLock() // so that no child gets the socket
	fd, err := syscall.Socket(syscall.AF_ROUTE, syscall.SOCK_RAW, syscall.AF_UNSPEC)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("netmon: opening a routing socket: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("netmon: opening a routing socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "route"), nil
}

// tooMuch reports whether an error means that we read too slowly.
func tooMuch(err error) bool { return errors.Is(err, syscall.ENOBUFS) }

// matters reports whether a message says that something changed. Others say
// that somebody looked for a route, which we do ourselves. All messages begin
// with their length, of two bytes, a version and a type.
func matters(message []byte) bool {
	if len(message) < 4 {
		return false
	}
	switch message[3] {
	case syscall.RTM_ADD, syscall.RTM_DELETE, syscall.RTM_CHANGE,
		syscall.RTM_NEWADDR, syscall.RTM_DELADDR, syscall.RTM_IFINFO:
		return true
	}
	return false
}
