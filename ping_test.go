package meshnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestPing(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	for _, kind := range []PingKind{PingDisco, PingTSMP, PingICMP} {
		for _, ip := range b.Status().Self.Addresses {
			got, err := a.Ping(testCtx(t), ip, kind)
			if err != nil {
				t.Errorf("%s to %v: %v", kind, ip, err)
				continue
			}
			if got.Name != "b.mesh.internal" || got.Latency <= 0 || got.Path == (Path{}) {
				t.Errorf("%s to %v: %+v", kind, ip, got)
			}
		}
	}
	ip, _ := b.IPs()
	eventually(t, "a ping takes the direct path", func() bool {
		got, err := a.Ping(testCtx(t), ip, PingDisco)
		return err == nil && got.Path.Direct.IsValid()
	})
}

func TestPingsThatHaveNoAnswer(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	aIP, _ := a.IPs()
	bIP, _ := b.IPs()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, test := range []struct {
		why  string
		from *Server
		ip   netip.Addr
		kind PingKind
	}{
		{"an address that nobody has", b, netip.MustParseAddr("100.64.9.9"), PingDisco},
		{"no address", b, netip.Addr{}, PingICMP},
		{"a kind that there is not", b, aIP, "smoke"},
		{"itself", a, aIP, PingTSMP},
	} {
		if got, err := test.from.Ping(testCtx(t), test.ip, test.kind); err == nil {
			t.Errorf("%s: %+v", test.why, got)
		}
	}
	// The peer knows nothing of b, and so does not answer.
	for _, kind := range []PingKind{PingDisco, PingTSMP, PingICMP} {
		if got, err := b.Ping(ctx, aIP, kind); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	s.tell(a, b, func(n *tailcfg.Node) { n.KeyExpiry = time.Now().Add(-time.Hour) })
	if got, err := a.Ping(testCtx(t), bIP, PingDisco); err == nil {
		t.Errorf("a node whose key has expired answers: %+v", got)
	}
}

func TestPingEndsWithTheNode(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	ip, _ := a.IPs()
	done := make(chan error)
	ping := func(kind PingKind) {
		_, err := b.Ping(testCtx(t), ip, kind)
		done <- err
	}
	for _, kind := range []PingKind{PingDisco, PingTSMP} {
		go ping(kind)
	}
	b.Close()
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// TestPingIsRepeated pings a node that does not know us at first.
func TestPingIsRepeated(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	ip, _ := a.IPs()
	done := make(chan error)
	go func() {
		_, err := b.Ping(testCtx(t), ip, PingDisco)
		done <- err
	}()
	s.tell(a, b, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
