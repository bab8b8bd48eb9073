//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package netmon

import (
	"errors"
	"fmt"
)

func openRoutes() (watch, error) {
	return nil, fmt.Errorf("netmon: watching routes: %w", errors.ErrUnsupported)
}

func tooMuch(error) bool { return false }

func matters([]byte) bool { return false }
