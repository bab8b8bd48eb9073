//go:build !linux && !darwin && !freebsd && !windows

package udp

import "errors"

func dontFragment(uintptr) error { return errors.ErrUnsupported }
