package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
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
				var dsts []target
				for i := range test.takes {
					dsts = append(dsts, target{numberedAddr(i)})
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

func numberedAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(i)}), 80)
}

// A node that is slow to answer sees one connection: one that waits for a single
// one, as meshnet nc does, would take the one that is closed again.
func TestDialFirstSlowNode(t *testing.T) {
	for _, test := range []struct {
		name  string
		first error // of the first address, after a second
		want  []int // what is dialed
	}{
		{"it answers late", nil, []int{0}},
		{"its first address refuses", errors.New("refused"), []int{0, 1}},
	} {
		for _, more := range []int{0, 1} { // other nodes
			t.Run(fmt.Sprint(test.name, ", others: ", more), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dsts := []target{{numberedAddr(0), numberedAddr(1)}}
					if more > 0 {
						dsts = append(dsts, target{numberedAddr(2)})
					}
					var dialed []int
					conn, err := dialFirst(t.Context(), dsts, func(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
						number := int(dst.Addr().As4()[3])
						if number == 2 {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						dialed = append(dialed, number)
						if time.Sleep(time.Second); number == 0 && test.first != nil {
							return nil, test.first
						}
						return &numbered{number: number, open: new(int)}, nil
					})
					if err != nil || conn.(*numbered).number != test.want[len(test.want)-1] || !slices.Equal(dialed, test.want) {
						t.Errorf("%v, %v after dialing %v, want %v", conn, err, dialed, test.want)
					}
				})
			})
		}
	}
}

// The addresses of a node are one target, those behind a node are not.
func TestTargets(t *testing.T) {
	m, err := (*netmap.Map)(nil).Apply(&tailcfg.MapResponse{
		Node: &tailcfg.Node{ID: 1},
		Peers: []*tailcfg.Node{{
			ID: 2, Key: key.NewNode().Public(), DiscoKey: key.NewDisco().Public(),
			Addresses:     []netip.Prefix{netip.MustParsePrefix("100.64.0.2/32"), netip.MustParsePrefix("fd7a:115c:a1e0::2/128")},
			AllowedIPs:    []netip.Prefix{netip.MustParsePrefix("100.64.0.2/32"), netip.MustParsePrefix("fd7a:115c:a1e0::2/128"), netip.MustParsePrefix("192.168.0.0/24")},
			PrimaryRoutes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24")},
		}},
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ips := func(texts ...string) (ips []netip.Addr) {
		for _, text := range texts {
			ips = append(ips, netip.MustParseAddr(text))
		}
		return ips
	}
	n := &node{cfg: config{routes: routes{accept: true}}}
	got, err := n.reachable(view{netMap: m}, ips("192.168.0.1", "100.64.0.2", "100.64.0.3", "192.168.0.2", "fd7a:115c:a1e0::2"), 80)
	const want = "[[192.168.0.1:80] [100.64.0.2:80 [fd7a:115c:a1e0::2]:80] [192.168.0.2:80]]"
	if text := fmt.Sprint(got); text != want || err != nil {
		t.Errorf("the targets are %s, %v, want %s", text, err, want)
	}
	if got, err := n.reachable(view{netMap: m}, ips("100.64.0.3", "100.64.0.4"), 80); err == nil || !strings.Contains(err.Error(), "100.64.0.3") {
		t.Errorf("the targets are %v, %v, want the error of the first", got, err)
	}
}

// numbered is a connection of which it is known whether it is open.
type numbered struct {
	net.Conn
	number int
	open   *int
}

func (n *numbered) Close() error { *n.open--; return nil }
