package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// PingPong asks a client how long one byte takes there and back, on an open
// connection.
type PingPong struct {
	Target netip.Addr
	Times  int
}

// Dials asks a client how long it takes to connect and get one byte back, and
// then to close.
type Dials struct {
	Target netip.Addr
	Times  int
	Wide   int // how many are under way at once
}

// Delays describe what something took, many times over.
type Delays struct {
	Times    int
	P50, P99 time.Duration
	All      time.Duration // from the beginning of the first to the end of the last
}

func describe(took []time.Duration, all time.Duration) Delays {
	slices.Sort(took)
	at := func(part float64) time.Duration { return took[int(part*float64(len(took)-1))] }
	return Delays{Times: len(took), P50: at(0.5), P99: at(0.99), All: all}
}

func (n *node) pingpong(p PingPong) (Delays, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := n.open(ctx, p.Target, echo)
	if err != nil {
		return Delays{}, err
	}
	defer c.Close()
	took := make([]time.Duration, max(1, p.Times))
	begin := time.Now()
	for i := range took {
		start := time.Now()
		if err := exchange(context.Background(), c, byte(i)); err != nil {
			return Delays{}, err
		}
		took[i] = time.Since(start)
	}
	return describe(took, time.Since(begin)), nil
}

func (n *node) dials(d Dials) (Delays, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	took := make([]time.Duration, max(1, d.Times))
	var (
		next    atomic.Int64
		failed  atomic.Pointer[error]
		workers sync.WaitGroup
	)
	begin := time.Now()
	for range max(1, d.Wide) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(took) || failed.Load() != nil {
					return
				}
				start := time.Now()
				c, err := n.open(ctx, d.Target, echo)
				if err != nil {
					failed.Store(&err)
					return
				}
				took[i] = time.Since(start)
				c.Close()
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return Delays{}, *err
	}
	return describe(took, time.Since(begin)), nil
}

// Reach asks a client to wait until packets go to a server by one path alone.
type Reach struct {
	Target  netip.Addr
	Relayed bool // through the relay, and not directly
	Limit   time.Duration
}

// reach exchanges bytes until the counters show nothing but that path for a
// while.
func (n *node) reach(r Reach) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
	defer cancel()
	c, err := n.open(ctx, r.Target, echo)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	const steady = 5
	var before Traffic
	for settled := 0; settled < steady; {
		if err := exchange(ctx, c, 0); err != nil {
			return nil, fmt.Errorf("no path as wanted: %w", err)
		}
		now, err := n.peer.Traffic()
		if err != nil {
			return nil, err
		}
		used, other := now.Direct-before.Direct, now.Relayed-before.Relayed
		if r.Relayed {
			used, other = other, used
		}
		if settled++; used == 0 || other != 0 {
			settled = 0
		}
		before = now
		time.Sleep(50 * time.Millisecond) // nobody tells when a path changes
	}
	return nil, nil
}
