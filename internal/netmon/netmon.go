// Package netmon knows the addresses of the host and its default route, and
// notices when they change, without privileges.
//
// What the host says decides, and a [Monitor] looks again when it may have
// changed:
//
//	route socket (Linux, BSD, macOS) ──┐ at most twice a second, seldom when in vain
//	every ten seconds, everywhere ─────┼──► look ──► State, Changed
//	Poke ──────────────────────────────┘ at most four times a second
//
// What comes through the route socket is not read, only that something came.
// Where there is none, or it is not permitted, looking every ten seconds is all.
package netmon

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollEvery = 10 * time.Second
	// hintDelay lets a burst of changes end: an address seldom comes alone.
	hintDelay = 100 * time.Millisecond
	hintGap   = 500 * time.Millisecond
	// hintsInVain is how many looks at hints may show nothing new before the gap
	// between two doubles with each, up to pollEvery: on a host that starts and
	// stops containers all the time there is always a hint, and a look there
	// goes through hundreds of interfaces. A time without hints, or news, makes
	// it short again.
	hintsInVain = 8
	pokeGap     = 250 * time.Millisecond
	// overslept is by how much a tick may differ from the wall clock before
	// we believe that the machine was asleep.
	overslept = 5 * time.Second
)

// Config is what a [Monitor] is made from. Nil functions mean the host; with
// both given it is not asked for anything. They must return soon.
type Config struct {
	// Interfaces returns our addresses, each with its network.
	Interfaces func() ([]netip.Prefix, error)
	// Gateway returns the default router, if one is known.
	Gateway func() (netip.Addr, bool)
	// Logger may be nil, which is silent.
	Logger *slog.Logger
}

// Monitor watches the network. Its methods may be called from any goroutine.
type Monitor struct {
	source  source
	wall    func() time.Time
	log     *slog.Logger
	state   atomic.Pointer[State] // written by run
	changed chan struct{}         // holds one
	poked   chan struct{}         // holds one
	hints   chan struct{}         // holds one

	closing  chan struct{}
	shut     sync.Once
	running  sync.WaitGroup
	routes   watch // nil when there is no route socket
	every    time.Duration
	failing  bool      // owned by run: interfaces could not be listed
	lastLook time.Time // owned by run
	inVain   int       // owned by run: looks at hints without news
}

// New returns a Monitor that has looked once. Close must be called.
func New(cfg Config) *Monitor { return start(cfg, pollEvery, time.Now) }

// start returns a Monitor with a period and a wall clock of the caller's.
func start(cfg Config, every time.Duration, wall func() time.Time) *Monitor {
	m := &Monitor{
		source:  newSource(cfg),
		wall:    wall,
		log:     cfg.Logger,
		changed: make(chan struct{}, 1),
		poked:   make(chan struct{}, 1),
		hints:   make(chan struct{}, 1),
		closing: make(chan struct{}),
		every:   every,
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.state.Store(&State{})
	if cfg.Interfaces == nil || cfg.Gateway == nil {
		m.watchRoutes() // before the first look, so that nothing is missed
	}
	m.look() // what it sees is not news yet
	m.running.Go(m.run)
	return m
}

// State returns what the last look saw. It must not be modified.
func (m *Monitor) State() State { return *m.state.Load() }

// Changed delivers a value after State changed, or the machine was asleep, one
// for any number of times. It is for one reader.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Poke says that the network may have changed, and that it is worth a look now.
func (m *Monitor) Poke() { notify(m.poked) }

// Close ends the watching. State stays as it is.
func (m *Monitor) Close() {
	m.shut.Do(func() {
		close(m.closing)
		if m.routes != nil {
			m.routes.Close() // ends the reading
		}
	})
	m.running.Wait()
}

// run looks when there is a reason to.
func (m *Monitor) run() {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	soon := time.NewTimer(0)
	soon.Stop()
	defer soon.Stop()
	var next time.Time // when soon fires; zero when it does not
	hinted := false    // since the last tick

	plan := func(delay, gap time.Duration) {
		at := time.Now().Add(delay)
		if free := m.lastLook.Add(gap); at.Before(free) {
			at = free
		}
		if next.IsZero() || at.Before(next) {
			next = at
			soon.Reset(time.Until(at))
		}
	}
	before := m.wall()
	for {
		select {
		case <-m.closing:
			return
		case <-m.hints:
			hinted = true
			plan(hintDelay, m.hintGap())
		case <-m.poked:
			plan(0, pokeGap)
		case <-soon.C:
			next = time.Time{}
			m.inVain++
			if m.look() {
				notify(m.changed)
			}
		case <-tick.C:
			if !hinted {
				m.inVain = 0
			}
			hinted = false
			now := m.wall()
			woke := slept(before, now, m.every)
			if woke {
				m.log.Info("the machine was asleep, or its clock was set")
			}
			before = now
			if m.look() || woke {
				notify(m.changed)
			}
		}
	}
}

// hintGap returns the time between two looks at hints.
func (m *Monitor) hintGap() time.Duration {
	gap := hintGap
	for n := hintsInVain; n < m.inVain && gap < m.every; n++ {
		gap *= 2
	}
	return min(gap, m.every)
}

// slept reports whether the wall clock went on by more than the time between
// two ticks, or less: most clocks that tick stand still while a machine sleeps.
// On those that do not, the tick is late.
func slept(before, now time.Time, between time.Duration) bool {
	passed := now.Round(0).Sub(before.Round(0)) // of the wall clock alone
	return (passed - between).Abs() > overslept
}

// look asks the source, and reports whether the answer is another.
func (m *Monitor) look() (changed bool) {
	m.lastLook = time.Now()
	before := m.State()
	raw, err := m.source.read()
	switch {
	case err == nil:
		m.failing = false
	case !m.failing:
		m.failing = true
		m.log.Warn("the addresses of this machine cannot be listed, only those of its default route", "err", err)
	}
	next := newState(raw)
	if err != nil && len(next.Default) == 0 {
		next.Addrs = before.Addrs
	}
	if next.Equal(before) {
		return false
	}
	m.inVain = 0
	m.state.Store(&next)
	m.log.Debug("the network", "addresses", next.Addrs, "default", next.Default, "gateway", next.Gateway)
	return true
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
