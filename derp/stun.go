package derp

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	buf := make([]byte, maxSTUN)
	var reply []byte
	failed := 0
	for {
		n, from, err := pc.ReadFrom(buf)
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
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		tx, err := stun.ParseRequest(buf[:n])
		if err != nil {
			continue
		}
		reply = stun.AppendResponse(reply[:0], tx, udp.AddrPort())
		pc.WriteTo(reply, from) // who gets no answer asks again
	}
}
