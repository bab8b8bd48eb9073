package udp

import (
	"net"
	"syscall"
)

// forceBuffers goes beyond the host's limit, which root may.
func forceBuffers(pc net.PacketConn) {
	host, ok := pc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := host.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer)
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUFFORCE, socketBuffer)
	})
}
