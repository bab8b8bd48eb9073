package netmon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// openRoutes returns a socket of rtnetlink (rtnetlink(7)), which is told of
// links, addresses and routes. Android does not permit it to programs.
func openRoutes() (watch, error) {
	const flags = syscall.SOCK_RAW | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK
	fd, err := syscall.Socket(syscall.AF_NETLINK, flags, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netmon: opening a netlink socket: %w", err)
	}
	var groups uint32
	for _, group := range []int{
		syscall.RTNLGRP_LINK,
		syscall.RTNLGRP_IPV4_IFADDR, syscall.RTNLGRP_IPV6_IFADDR,
		syscall.RTNLGRP_IPV4_ROUTE, syscall.RTNLGRP_IPV6_ROUTE,
	} {
		groups |= 1 << (group - 1)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: groups}); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("netmon: watching routes: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// tooMuch reports whether an error means that we read too slowly.
func tooMuch(err error) bool { return errors.Is(err, syscall.ENOBUFS) }

// matters reports whether a message says that something changed. All do.
func matters([]byte) bool { return true }
