//go:build !linux

package meshnet

import (
	"errors"
	"fmt"
	"syscall"
)

// bindToDevice is an error: without it, what is dialled might leave the mesh.
func bindToDevice(syscall.RawConn, string) error {
	return fmt.Errorf("sockets in TUN mode: %w on this system; use package net", errors.ErrUnsupported)
}
