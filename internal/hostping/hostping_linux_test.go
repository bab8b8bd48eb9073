package hostping

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestPing(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := Ping(ctx, netip.MustParseAddr(ip))
		switch {
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			t.Skip("net.ipv4.ping_group_range does not include us")
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.ENETUNREACH):
			t.Logf("%s: there is no such IP version here: %v", ip, err)
		case err != nil:
			t.Errorf("%s: %v", ip, err)
		}
	}
}

func TestPingNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ping(ctx, netip.MustParseAddr("127.0.0.1")); err == nil {
		t.Error("a ping that has been given up is answered")
	}
	if err := Ping(t.Context(), netip.Addr{}); err == nil {
		t.Error("no address answers")
	}
}
