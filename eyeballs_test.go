package meshnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialFirst(t *testing.T) {
	never := time.Hour
	for _, test := range []struct {
		name  string
		takes []time.Duration // to a connection; negative: to an error
		want  int             // who has it; -1: nobody
		after time.Duration
	}{
		{"the first answers", []time.Duration{10 * time.Millisecond, 0}, 0, 10 * time.Millisecond},
		{"the first is slow", []time.Duration{300 * time.Millisecond, 100 * time.Millisecond}, 0, 300 * time.Millisecond},
		{"the first is silent", []time.Duration{never, 100 * time.Millisecond}, 1, 350 * time.Millisecond},
		{"the first fails", []time.Duration{-10 * time.Millisecond, 20 * time.Millisecond}, 1, 30 * time.Millisecond},
		{"the last answers", []time.Duration{never, never, 5 * time.Millisecond}, 2, 505 * time.Millisecond},
		{"all fail", []time.Duration{-300 * time.Millisecond, -100 * time.Millisecond, -10 * time.Millisecond}, -1, 350 * time.Millisecond},
		{"there is one", []time.Duration{time.Second}, 0, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dsts []netip.AddrPort
				for i := range test.takes {
					dsts = append(dsts, netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(i)}), 80))
				}
				open := 0
				begin := time.Now()
				conn, err := dialFirst(t.Context(), dsts, func(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
					takes := test.takes[dst.Addr().As4()[3]]
					select {
					case <-time.After(max(takes, -takes)):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if takes < 0 {
						return nil, errors.New(dst.Addr().String())
					}
					open++
					return &numbered{number: int(dst.Addr().As4()[3]), open: &open}, nil
				})
				took := time.Since(begin)
				switch {
				case test.want < 0 && (err == nil || err.Error() != "100.64.0.0" || conn != nil):
					t.Errorf("%v, %v, want the error of the first", conn, err)
				case test.want >= 0 && (err != nil || conn.(*numbered).number != test.want):
					t.Errorf("%v, %v, want that of %d", conn, err, test.want)
				}
				if took != test.after {
					t.Errorf("it takes %v, want %v", took, test.after)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if want := min(1, test.want+1); open != want {
					t.Errorf("%d connections are open, want %d", open, want)
				}
			})
		})
	}
}

// numbered is a connection of which it is known whether it is open.
type numbered struct {
	net.Conn
	number int
	open   *int
}

func (n *numbered) Close() error { *n.open--; return nil }
