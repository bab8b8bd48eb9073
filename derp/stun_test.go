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
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
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
