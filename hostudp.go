//go:build !wasm

package meshnet

import (
	"context"
	"net"
)

func hostListenPacket() func(ctx context.Context, network, addr string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket
}
