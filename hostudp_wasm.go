package meshnet

import (
	"context"
	"net"
)

// hostHasUDP is whether it is a fault when there is no UDP.
const hostHasUDP = false

// hostListenPacket returns nil: package net has a make-believe of sockets there.
func hostListenPacket() func(ctx context.Context, network, addr string) (net.PacketConn, error) {
	return nil
}
