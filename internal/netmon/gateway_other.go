//go:build !linux && !windows && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package netmon

import "net/netip"

func hostGateway() (netip.Addr, bool) { return netip.Addr{}, false }
