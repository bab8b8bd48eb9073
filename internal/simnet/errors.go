package simnet

import (
	"errors"
	"net"
	"os"
	"syscall"
)

var (
	errNetworkClosed = net.ErrClosed
	errReset         = error(syscall.ECONNRESET)
)

// opError is the error of a net.Conn, net.Listener or net.PacketConn. Source
// and addr are nil interfaces where there is nothing to say. Numbers of the
// kernel carry the name of the call, as they do in package net.
func opError(op, call, network string, source, addr net.Addr, err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		err = os.NewSyscallError(call, err)
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}
