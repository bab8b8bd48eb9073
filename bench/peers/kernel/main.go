// Kernel is a node without any software of ours: TCP of the kernel's. It is the
// bound of what the others can reach, and has no encryption.
package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/meshnet-go/meshnet/bench/internal/node"
)

func main() {
	node.Main(func(c node.Config) (node.Peer, error) { return &peer{addr: c.Addr}, nil })
}

type peer struct {
	addr  netip.Addr
	asked uint64
}

func (p *peer) Up(context.Context) (netip.Addr, error) { return p.addr, nil }

func (p *peer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(p.addr.String(), strconv.Itoa(int(port))))
}

// Traffic is a byte for each time that it is asked: there is no other path.
func (p *peer) Traffic() (node.Traffic, error) {
	p.asked++
	return node.Traffic{Direct: p.asked}, nil
}

func (p *peer) Close() error { return nil }
