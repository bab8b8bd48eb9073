package magicsock

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/key"
)

// memRelays are the relays of a mesh, in memory. Regions work until they are
// taken down.
type memRelays struct {
	mu    sync.Mutex
	down  map[int]bool
	pools []*memPool
}

func (r *memRelays) pool(k key.NodePublic) *memPool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &memPool{
		relays:  r,
		key:     k,
		out:     make(chan relay.Packet, 256),
		changed: make(chan struct{}, 1),
		idle:    make(map[int]*time.Timer),
	}
	r.pools = append(r.pools, p)
	return p
}

// set makes a region work or not.
func (r *memRelays) set(region int, works bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down == nil {
		r.down = make(map[int]bool)
	}
	r.down[region] = !works
	for _, p := range r.pools {
		p.notify()
	}
}

// memPool is the pool of one node; r.mu guards all of it.
type memPool struct {
	relays  *memRelays
	key     key.NodePublic
	regions []int
	home    int
	idle    map[int]*time.Timer // regions opened on demand, closed after 60 s
	out     chan relay.Packet
	changed chan struct{}
}

func (p *memPool) notify() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *memPool) SetKey(k key.NodePrivate) {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	p.key = k.Public()
}

func (p *memPool) ProbeLatency(ctx context.Context, region int) (time.Duration, error) {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	if p.relays.down[region] {
		return 0, errors.New("the region is down")
	}
	return 10 * time.Millisecond, nil
}

func (p *memPool) SetMap(m *derpmap.Map) {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	p.regions = m.IDs()
}

func (p *memPool) SetHome(region int) {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	p.home = region
	p.notify()
}

func (p *memPool) Send(region int, dst key.NodePublic, packet []byte) error {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	if !slices.Contains(p.regions, region) {
		return fmt.Errorf("no region %d", region)
	}
	p.open(region)
	for _, to := range p.relays.pools {
		if to.key == dst && to.connected(region) && !p.relays.down[region] {
			select {
			case to.out <- relay.Packet{Region: region, Src: p.key, Data: slices.Clone(packet)}:
			default:
			}
		}
	}
	return nil
}

func (p *memPool) open(region int) {
	if t := p.idle[region]; t != nil {
		t.Reset(time.Minute)
		return
	}
	p.idle[region] = time.AfterFunc(time.Minute, func() {
		p.relays.mu.Lock()
		defer p.relays.mu.Unlock()
		delete(p.idle, region)
		p.notify()
	})
	p.notify()
}

func (p *memPool) connected(region int) bool {
	return slices.Contains(p.regions, region) && !p.relays.down[region] && (region == p.home || p.idle[region] != nil)
}

func (p *memPool) Connected(region int) bool {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	return p.connected(region)
}

// Heard says that a region which works has been heard just now, as its
// keepalives are.
func (p *memPool) Heard(region int) time.Time {
	if !p.Connected(region) {
		return time.Time{}
	}
	return time.Now()
}

func (p *memPool) Check()                    {}
func (p *memPool) SetAddrs([]netip.Addr)     {}
func (p *memPool) Recv() <-chan relay.Packet { return p.out }
func (p *memPool) Changed() <-chan struct{}  { return p.changed }
func (p *memPool) Close() error {
	p.relays.mu.Lock()
	defer p.relays.mu.Unlock()
	for _, t := range p.idle {
		t.Stop()
	}
	return nil
}
