//go:build !windows

package udp

import "syscall"

const refused = syscall.ECONNREFUSED
