package meshnet

import (
	"os"
	"syscall"
)

// bindToDevice has a socket use one network interface only.
func bindToDevice(socket syscall.RawConn, name string) error {
	var bindErr error
	err := socket.Control(func(fd uintptr) { bindErr = syscall.BindToDevice(int(fd), name) })
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", bindErr)
}
