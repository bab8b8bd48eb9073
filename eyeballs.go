package meshnet

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// attemptDelay is after how long the next address is tried as well (RFC 8305,
// section 5).
const attemptDelay = 250 * time.Millisecond

// dialFirst dials the addresses in their order, each a moment after the one
// before, or when that has failed, and returns the first connection. The error
// is that of the first address.
func dialFirst(ctx context.Context, dsts []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	if len(dsts) == 1 {
		return dial(ctx, dsts[0])
	}
	type attempt struct {
		number int
		conn   net.Conn
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan attempt)
	started, open := 0, 0
	errs := make([]error, len(dsts))
	begin := func() {
		number := started
		started, open = started+1, open+1
		go func() {
			conn, err := dial(ctx, dsts[number])
			ended <- attempt{number, conn, err}
		}()
	}
	defer func() {
		cancel()
		go func() { // others may have come through, too
			for range open {
				if a := <-ended; a.conn != nil {
					a.conn.Close()
				}
			}
		}()
	}()
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	begin()
	for open > 0 {
		select {
		case a := <-ended:
			open--
			if a.err == nil {
				return a.conn, nil
			}
			errs[a.number] = a.err
		case <-next.C:
		}
		if started < len(dsts) && ctx.Err() == nil {
			begin()
			next.Reset(attemptDelay)
		}
	}
	return nil, errs[0]
}
