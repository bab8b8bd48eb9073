//go:build !amd64 && !386

package udp

import "syscall"

const sysSENDMMSG = syscall.SYS_SENDMMSG
