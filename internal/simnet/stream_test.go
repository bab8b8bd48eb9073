package simnet

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestStreamsAreConns(t *testing.T) {
	t.Run("on one host", func(t *testing.T) {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			n := New(1)
			h := n.Host()
			c1, c2, err := connect(t, h, h)
			return c1, c2, func() { n.Close() }, err
		})
	})
	t.Run("over links with latency", func(t *testing.T) {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			n := New(1)
			a, b := n.Host(), n.Host()
			a.Link().Set(Quality{Latency: time.Millisecond, Jitter: time.Millisecond})
			c1, c2, err := connect(t, a, b)
			return c1, c2, func() { n.Close() }, err
		})
	})
}

// connect returns both ends of a connection from a to b.
func connect(t testing.TB, a, b *Host) (dialed, accepted net.Conn, err error) {
	ln, err := b.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	to := net.TCPAddr{IP: b.Addrs()[0].AsSlice(), Port: ln.Addr().(*net.TCPAddr).Port}
	if dialed, err = a.DialContext(t.Context(), "tcp", to.String()); err != nil {
		return nil, nil, err
	}
	accepted, err = ln.Accept()
	return dialed, accepted, err
}
