package magicsock

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

func wantPong(t *testing.T, sentence string, a, b *node, want Pong) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := a.Ping(ctx, b.key.Public())
	got.Direct, got.Latency = netip.AddrPortFrom(got.Direct.Addr(), 0), 0
	if err != nil || got != want {
		t.Errorf("%s: %+v, %v; want %+v", sentence, got, err, want)
	}
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		wantPong(t, "nothing is known of the path", l.a, l.b, Pong{Direct: netip.AddrPortFrom(netip.Addr{}, 0), Relay: 1})
		synctest.Wait()
		wantPong(t, "the first ping has found it", l.a, l.b, Pong{Direct: netip.AddrPortFrom(hostB, 0)})
		l.relays.set(1, false)
		wantPong(t, "without the relay", l.b, l.a, Pong{Direct: netip.AddrPortFrom(hostA, 0)})
	})
}

func TestPingOfTheAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		silent := b.peer(2)
		mute := Peer{Key: key.NewNode().Public(), HomeDERP: 1}
		a.SetPeers([]Peer{silent, mute})
		for sentence, k := range map[string]key.NodePublic{
			"a stranger":                      key.NewNode().Public(),
			"a peer that speaks no disco":     mute.Key,
			"a peer that knows nothing of us": silent.Key,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if pong, err := a.Ping(ctx, k); err == nil {
				t.Errorf("%s answers: %+v", sentence, pong)
			} else if (k == silent.Key) != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", sentence, err)
			}
			cancel()
		}
		a.SetDERPMap(testMap())
		if _, err := a.Ping(t.Context(), silent.Key); !errors.Is(err, errNoWay) {
			t.Errorf("without any relay: %v", err)
		}
		if n := len(a.asked.pings); n != 0 {
			t.Errorf("%d pings are still waited for", n)
		}
		a.Conn.Close()
		if _, err := a.Ping(t.Context(), silent.Key); err == nil {
			t.Error("a closed Conn pings")
		}
	})
}

func TestPingEndsWithTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2")
		a.SetPeers([]Peer{b.peer(1)})
		done := make(chan error)
		go func() {
			_, err := a.Ping(t.Context(), b.key.Public())
			done <- err
		}()
		synctest.Wait()
		a.Conn.Close()
		if err := <-done; err == nil {
			t.Error("a ping is answered by nobody")
		}
	})
}

func TestNetcheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(t)
		time.Sleep(time.Hour)
		before := time.Now()
		report, err := l.a.Netcheck(t.Context())
		if err != nil || report.At.Before(before) || report.Home == 0 {
			t.Errorf("the report is %+v, %v", report, err)
		}
		if took := time.Since(before); took > 10*time.Second {
			t.Errorf("it takes %v", took)
		}
		lonely := newNode(t, "100.64.0.9", func(cfg Config) *Conn { return newConn(cfg, l.relays.pool(cfg.Node.Public())) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if report, err := lonely.Netcheck(ctx); report.Home != 0 || len(lonely.asked.rounds) != 0 {
			t.Errorf("without relays: %+v, %v", report, err)
		}
		lonely.Conn.Close()
		if _, err := lonely.Netcheck(t.Context()); err == nil {
			t.Error("a closed Conn knows the network")
		}
	})
}
