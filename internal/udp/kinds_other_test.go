//go:build !linux

package udp

import "net"

func addBatchedKinds(map[string]func(net.PacketConn) *Conn) {}
