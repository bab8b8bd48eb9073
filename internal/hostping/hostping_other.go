//go:build !linux

package hostping

import (
	"context"
	"errors"
	"net/netip"
)

// Ping is an error: only Linux has unprivileged ICMP of the kind used here.
func Ping(context.Context, netip.Addr) error { return errors.ErrUnsupported }
