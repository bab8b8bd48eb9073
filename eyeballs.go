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

// A target is where to dial: an address, or all those of one node in their order.
// There is one way to a node, whatever its address. Where one does not answer
// the others would not either, and a node that answers late would see
// connections that nobody wants: it may be waiting for a single one.
type target []netip.AddrPort

// dialOne dials the addresses of one target, each when the one before has
// failed. The error is that of the first address.
func (to target) dialOne(ctx context.Context, dial dialFunc) (net.Conn, error) {
	conn, err := dial(ctx, to[0])
	for _, dst := range to[1:] {
		if err == nil || ctx.Err() != nil {
			break
		}
		var failed error
		if conn, failed = dial(ctx, dst); failed == nil {
			err = nil
		}
	}
	return conn, err
}

type dialFunc func(context.Context, netip.AddrPort) (net.Conn, error)

// dialFirst dials the targets in their order, each a moment after the one
// before, or when that has failed, and returns the first connection. The error
// is that of the first address.
func dialFirst(ctx context.Context, dsts []target, dial dialFunc) (net.Conn, error) {
	if len(dsts) == 1 {
		return dsts[0].dialOne(ctx, dial)
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
			conn, err := dsts[number].dialOne(ctx, dial)
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
