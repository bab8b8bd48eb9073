package derp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/stun"
)

const (
	maxSTUN       = 1500 // more than any request has
	maxSTUNErrors = 100  // in a row
)

// ServeSTUN answers the STUN requests that arrive at pc, by which nodes learn
// their public addresses, until ctx ends or pc is closed. It leaves pc open.
// The error says what ended it: that of ctx, or one that wraps
// [net.ErrClosed], or that of a socket that fails again and again. Nodes
// expect it on UDP port 3478 of the relay's host, unless the DERP map says
// otherwise.
func ServeSTUN(ctx context.Context, pc net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { pc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, ok := pc.(addrPortConn)
	if !ok {
		conn = anyPacketConn{pc}
	}
	buf := make([]byte, maxSTUN)
	reply := make([]byte, 0, maxSTUN)
	failed := 0
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// Some systems report here what became of an earlier reply.
			failed++
			if errors.Is(err, net.ErrClosed) || failed > maxSTUNErrors {
				return fmt.Errorf("derp: read a STUN request: %w", err)
			}
			continue
		}
		failed = 0
		tx, err := stun.ParseRequest(buf[:n])
		if err != nil || !from.IsValid() {
			continue
		}
		// Who gets no answer asks again. It is hardly longer than the question,
		// so that nobody gains by having us answer others.
		reply = stun.AppendResponse(reply[:0], tx, from)
		conn.WriteToUDPAddrPort(reply, from)
	}
}

// addrPortConn is what *net.UDPConn offers to those who want no allocation for
// each packet's address.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// anyPacketConn makes other connections an addrPortConn.
type anyPacketConn struct{ net.PacketConn }

func (c anyPacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(b)
	udp, ok := from.(*net.UDPAddr)
	if err != nil || !ok {
		return n, netip.AddrPort{}, err
	}
	return n, udp.AddrPort(), nil
}

func (c anyPacketConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(addr))
}
