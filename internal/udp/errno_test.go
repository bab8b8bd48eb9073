//go:build !windows

package udp

import "syscall"

const (
	refused  = syscall.ECONNREFUSED
	tooLarge = syscall.EMSGSIZE
	noRoom   = syscall.ENOBUFS
)
