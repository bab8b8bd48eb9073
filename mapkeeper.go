package meshnet

import (
	"context"
	"log/slog"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
)

const (
	// saveEvery is the least time between two saves of the map. Who stops the
	// process without Close loses that much.
	saveEvery = 10 * time.Second
	// confirmEvery is how often a map that does not change is saved again, with
	// the time at which the coordinator was last heard.
	confirmEvery = time.Hour
)

// A mapKeeper saves the network map in the Store, in a goroutine of its own,
// because a large one takes its time. The newest map wins.
type mapKeeper struct {
	store Store
	log   *slog.Logger
	maps  chan keptMap // holds the newest that is not saved
	done  chan struct{}
}

// A keptMap is a map that is to be saved; without one, none shall be there.
type keptMap struct {
	savedMap
	m *netmap.Map
}

func newMapKeeper(store Store, log *slog.Logger) *mapKeeper {
	return &mapKeeper{store: store, log: log, maps: make(chan keptMap, 1), done: make(chan struct{})}
}

// keep has a map saved soon. Only node.run calls it.
func (k *mapKeeper) keep(m keptMap) {
	select {
	case <-k.maps:
	default:
	}
	k.maps <- m // only we fill it
}

// run saves until ctx ends, and then what is left.
func (k *mapKeeper) run(ctx context.Context) {
	defer close(k.done)
	for {
		select {
		case m := <-k.maps:
			k.save(m)
			pause(ctx, saveEvery)
		case <-ctx.Done():
			select {
			case m := <-k.maps:
				k.save(m)
			default:
			}
			return
		}
	}
}

func (k *mapKeeper) save(m keptMap) {
	var text []byte // forget it
	if m.m != nil {
		m.Map = m.m.Response(m.Heard)
		var err error
		if text, err = m.text(); err != nil {
			k.log.Warn("the network map is not kept for the next start", "err", err)
			text = nil // nor an older one
		}
	}
	if err := k.store.Save(storedMap, text); err != nil {
		k.log.Warn("keeping the network map for the next start", "err", err)
	}
}
