//go:build !wasm

package meshnet

import (
	"context"
	"net"
)

// hostHasUDP is whether it is a fault when there is no UDP.
const hostHasUDP = true

func hostListenPacket() func(ctx context.Context, network, addr string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket
}
