//go:build !linux

package udp

import "net"

// newBatched returns nil: nothing but Linux has batches.
func newBatched(net.PacketConn) path { return nil }
