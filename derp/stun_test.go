package derp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/meshnet-go/meshnet/internal/stun"
)

func TestServeSTUN(t *testing.T) {
	t.Run("a UDP socket", func(t *testing.T) {
		testServeSTUN(t, func(pc net.PacketConn) net.PacketConn { return pc })
	})
	t.Run("another packet connection", func(t *testing.T) {
		testServeSTUN(t, func(pc net.PacketConn) net.PacketConn { return struct{ net.PacketConn }{pc} })
	})
}

func testServeSTUN(t *testing.T, wrap func(net.PacketConn) net.PacketConn) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	pc = wrap(pc)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- ServeSTUN(ctx, pc) }()

	nc, err := net.Dial("udp4", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("not STUN, and not answered"))
	tx := stun.NewTxID()
	nc.Write(stun.AppendRequest(nil, tx))
	buf := make([]byte, 1500)
	n, err := nc.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	gotTx, addr, err := stun.ParseResponse(buf[:n])
	if gotTx != tx || addr != netip.MustParseAddrPort(nc.LocalAddr().String()) || err != nil {
		t.Errorf("answer %x, %v, %v", gotTx, addr, err)
	}

	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("ended by its context: %v", err)
	}
	pc.Close()
	if err := ServeSTUN(t.Context(), pc); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v", err)
	}
}

// asking is a socket at which the same request arrives again and again.
type asking struct {
	net.PacketConn
	request []byte
	left    int
	replies int
}

func (a *asking) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if a.left == 0 {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	a.left--
	return copy(b, a.request), netip.AddrPortFrom(netip.IPv6Loopback(), 7), nil
}

func (a *asking) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	a.replies++
	return len(b), nil
}

func TestServeSTUNAllocatesNothingPerRequest(t *testing.T) {
	request := stun.AppendRequest(nil, stun.NewTxID())
	serve := func(n int) float64 {
		return testing.AllocsPerRun(1, func() {
			a := &asking{request: request, left: n}
			ServeSTUN(t.Context(), a)
			if a.replies != n {
				t.Errorf("%d of %d requests are answered", a.replies, n)
			}
		})
	}
	// The runtime allocates a little by itself meanwhile.
	if one, many := serve(1), serve(1000); many > one+100 {
		t.Errorf("1000 requests allocate %v times, one %v", many, one)
	}
}
