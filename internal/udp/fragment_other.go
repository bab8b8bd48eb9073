//go:build !linux && !darwin && !freebsd && !windows

package udp

import "errors"

func forbidFragments(uintptr) (allow func(), err error) { return nil, errors.ErrUnsupported }
