package netmon

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// given is a network that a test gives to a Monitor.
type given struct {
	mu      sync.Mutex
	addrs   []netip.Prefix
	gateway netip.Addr
	err     error
	looks   int
}

func (g *given) config() Config {
	return Config{
		Interfaces: func() ([]netip.Prefix, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.looks++
			return g.addrs, g.err
		},
		Gateway: func() (netip.Addr, bool) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.gateway, g.gateway.IsValid()
		},
	}
}

func (g *given) set(gateway string, addrs ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addrs, g.gateway = prefixes(addrs...), netip.MustParseAddr(gateway)
}

func (g *given) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addrs, g.err = nil, err
}

// count returns how many looks there were since the last call.
func (g *given) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.looks
	g.looks = 0
	return n
}

func check(t *testing.T, what string, ok bool) {
	t.Helper()
	if !ok {
		t.Errorf("%s: not so", what)
	}
}

// pass lets fake time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func news(m *Monitor) bool {
	select {
	case <-m.Changed():
		return true
	default:
		return false
	}
}

func TestAGivenNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		m := New(g.config())
		defer m.Close()
		want := State{Addrs: prefixes("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
		check(t, "it has looked before anybody asks", m.State().Equal(want))
		pass(time.Minute)
		check(t, "nothing changed", !news(m))

		g.set("192.0.2.1", "192.0.2.7/24", "2001:db8::7/64")
		pass(pollEvery)
		check(t, "a change is seen within ten seconds", news(m) && len(m.State().Addrs) == 2)
		g.set("192.0.2.2", "192.0.2.7/24", "2001:db8::7/64")
		pass(pollEvery)
		check(t, "another gateway is a change", news(m) && m.State().Gateway == netip.MustParseAddr("192.0.2.2"))
		g.set("192.0.2.2", "2001:db8::7/64", "192.0.2.7/24", "fe80::1/64", "100.64.0.9/32")
		pass(pollEvery)
		check(t, "another order, or an address that does not matter, is none", !news(m))
	})
}

func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		m := New(g.config())
		defer m.Close()
		pass(time.Second)
		g.count()
		g.set("192.0.2.1", "192.0.2.8/24")
		m.Poke()
		synctest.Wait()
		pass(0)
		check(t, "it looks at once", news(m) && g.count() == 1)
		for range 1000 {
			m.Poke()
			pass(time.Millisecond)
		}
		check(t, "but not more than four times a second", g.count() <= 4)
	})
}

func TestHintsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		m := New(g.config())
		defer m.Close()
		pass(2 * time.Second)
		g.count()
		notify(m.hints)
		pass(50 * time.Millisecond)
		g.set("192.0.2.1", "192.0.2.9/24")
		notify(m.hints)
		pass(49 * time.Millisecond)
		check(t, "a burst is waited for", g.count() == 0)
		pass(time.Millisecond)
		check(t, "then it looks", news(m) && g.count() == 1)
		for range 5000 {
			notify(m.hints)
			pass(time.Millisecond)
		}
		check(t, "hints without end make two looks a second", g.count() <= 11)
	})
}

// TestHintsInVain has a host on which something changes all the time that does
// not matter.
func TestHintsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		m := New(g.config())
		defer m.Close()
		hints := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); pass(100 * time.Millisecond) {
				notify(m.hints)
			}
		}
		hints(time.Minute)
		g.count()
		hints(time.Hour)
		check(t, "a look in ten seconds is enough, beside that at the clock", g.count() <= 2*360+2)
		g.set("192.0.2.1", "192.0.2.9/24")
		hints(pollEvery)
		check(t, "a change is seen all the same", news(m))
		g.set("192.0.2.1", "192.0.2.10/24")
		hints(2 * hintGap)
		check(t, "and the next one soon", news(m))

		hints(time.Minute)
		pass(2 * pollEvery)
		g.set("192.0.2.1", "192.0.2.11/24")
		notify(m.hints)
		pass(hintDelay)
		check(t, "as is one after a time of quiet", news(m))
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		var mu sync.Mutex
		var jump time.Duration
		m := start(g.config(), pollEvery, func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		})
		defer m.Close()
		set := func(d time.Duration) { mu.Lock(); jump += d; mu.Unlock() }
		pass(15 * time.Second)
		set(2 * time.Second)
		pass(pollEvery)
		check(t, "a clock that is set a little is nothing", !news(m))
		set(time.Hour)
		pass(pollEvery)
		check(t, "an hour that did not tick is a change, though the addresses are the same", news(m))
		pass(time.Minute)
		check(t, "once", !news(m))
		set(-time.Hour)
		pass(pollEvery)
		check(t, "back, too", news(m))
	})
}

func TestSlept(t *testing.T) {
	at := time.Now() // with a monotonic clock, which is to be left alone
	for passed, want := range map[time.Duration]bool{10 * time.Second: false, 14 * time.Second: false, 6 * time.Second: false, time.Minute: true, 0: true} {
		if got := slept(at, at.Add(passed), pollEvery); got != want {
			t.Errorf("slept after %v: %v", passed, got)
		}
	}
}

func TestAddressesThatCannotBeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.set("192.0.2.1", "192.0.2.7/24")
		var log bytes.Buffer
		cfg := g.config()
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		m := New(cfg)
		g.fail(errors.New("permission denied"))
		pass(time.Minute)
		check(t, "what was known stays", !news(m) && len(m.State().Addrs) == 1)
		m.Close()
		check(t, "it is said once", strings.Count(log.String(), "permission denied") == 1)
		check(t, "as something to know", strings.Contains(log.String(), "level=WARN"))
	})
}

// TestADefaultRouteIsBetterThanNothing is Android, which does not let programs
// list interfaces.
func TestADefaultRouteIsBetterThanNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Monitor{log: slog.New(slog.DiscardHandler)}
		from := addrs("192.0.2.7")
		m.source = source{
			interfaces: func() ([]netip.Prefix, error) { return nil, errors.New("permission denied") },
			defaults:   func() []netip.Addr { return from },
			gateway:    func() (netip.Addr, bool) { return netip.Addr{}, false },
		}
		m.state.Store(&State{})
		check(t, "its address is known", m.look() && m.State().Addrs[0] == netip.MustParsePrefix("192.0.2.7/32"))
		from = addrs("198.51.100.3")
		check(t, "it replaces what was known", m.look() && len(m.State().Addrs) == 1 && m.State().Addrs[0].Addr() == from[0])
		from = nil
		check(t, "and stays when there is no route", m.look() && len(m.State().Addrs) == 1 && len(m.State().Default) == 0)
	})
}

func TestClose(t *testing.T) {
	m := New(Config{}) // the host's own network, whatever that is
	m.Poke()
	m.State()
	m.Close()
	m.Close()
	m.Poke()
}
