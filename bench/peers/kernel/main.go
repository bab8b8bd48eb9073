// Kernel is a node without any software of ours: TCP of the kernel's, with
// CUBIC. It is the bound of what the others can reach, and has no encryption.
package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

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
	d := &net.Dialer{Control: cubic}
	return d.DialContext(ctx, "tcp", addr)
}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	l := &net.ListenConfig{Control: cubic}
	return l.Listen(context.Background(), "tcp", net.JoinHostPort(p.addr.String(), strconv.Itoa(int(port))))
}

// cubic sets the congestion control, whatever the machine's is.
func cubic(_, _ string, c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	})
	return errors.Join(err, controlErr)
}

// Traffic is a byte for each time that it is asked: there is no other path.
func (p *peer) Traffic() (node.Traffic, error) {
	p.asked++
	return node.Traffic{Direct: p.asked}, nil
}

func (p *peer) Close() error { return nil }
