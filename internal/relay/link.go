package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// idleTimeout is how long a region that is not our home stays connected after
// the last packet that we sent there. Tailscale's nodes do the same.
const idleTimeout = 60 * time.Second

// answerTimeout is how long a relay may take to show that a connection stands
// which is in doubt. Across the world and back are 0.4 s.
const answerTimeout = 3 * time.Second

var (
	errIdle   = errors.New("nothing was sent there for a while")
	errSilent = errors.New("the relay did not answer after the network changed")
	errMoved  = errors.New("the address that it came from is not the host's any more")
)

// link is a region in use. It belongs to one key and one set of relays: when
// those change, another takes its place.
type link struct {
	id     int // of the region in the map
	region *derpmap.Region
	key    key.NodePrivate
	stop   context.CancelFunc
	wake   chan struct{} // has an element when queue, home, moved or doubted may have changed
	frames atomic.Int64  // received so far
	heard  atomic.Int64  // when the last frame came, as Pool.sinceStart; 0 before

	// Guarded by Pool.mu.
	queue     queue
	home      bool
	doubted   bool      // whether the connection still stands is to be found out
	moved     bool      // the connection does not, as local is gone
	used      time.Time // the last Send, or the beginning
	connected bool
	local     netip.Addr // of the connection; invalid if it has none
	err       error      // nil while connected
	absent    int
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) setHome(home bool) {
	if l.home != home {
		l.home = home
		l.poke()
	}
}

// run keeps l connected until ctx ends or l is idle.
func (p *Pool) run(ctx context.Context, l *link) {
	var retry backoff
	for {
		client, err := derp.Dial(ctx, derp.DialConfig{
			Key:         l.key,
			Region:      l.region,
			DialContext: p.cfg.DialContext,
			RootCAs:     p.cfg.RootCAs,
		})
		if err == nil {
			since := time.Now()
			err = p.carry(ctx, l, client)
			retry.connectedFor(time.Since(since))
		}
		if ctx.Err() != nil || errors.Is(err, errIdle) {
			return
		}
		p.lost(l, err)
		select {
		case <-time.After(retry.next()):
		case <-ctx.Done():
			return
		}
		if p.retire(l) <= 0 {
			return
		}
	}
}

// carry moves packets in both directions until the connection fails, ctx ends,
// or l is idle.
func (p *Pool) carry(ctx context.Context, l *link, client *derp.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { client.Close() }) // ends a read or write under way
	defer stop()
	p.up(l, client)

	var receiving sync.WaitGroup
	receiving.Go(func() { cancel(p.receive(ctx, l, client)) })
	cancel(p.transmit(ctx, l, client))
	client.Close()
	receiving.Wait()
	return context.Cause(ctx)
}

// transmit writes what is queued, as many packets at a time as there are.
func (p *Pool) transmit(ctx context.Context, l *link, client *derp.Client) error {
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	answer := time.NewTimer(answerTimeout)
	defer answer.Stop()
	answer.Stop() // until there is a doubt
	var frames int64
	var todo errand
	preferred := false
	for {
		todo = p.take(l, todo.batch[:0])
		if todo.moved {
			return errMoved
		}
		if todo.home != preferred {
			preferred = todo.home
			if err := client.SetPreferred(preferred); err != nil {
				return err
			}
		}
		if todo.doubted {
			frames = l.frames.Load()
			answer.Reset(answerTimeout)
			if err := client.Ping([8]byte{}); err != nil {
				return err
			}
		}
		if err := send(client, todo.batch); err != nil {
			return err
		}
		select {
		case <-l.wake:
		case <-answer.C:
			if l.frames.Load() == frames {
				return errSilent
			}
		case <-idle.C:
			left := p.retire(l)
			if left <= 0 {
				return errIdle
			}
			idle.Reset(left)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// send writes a batch and releases it.
func send(client *derp.Client, batch []outgoing) (err error) {
	for _, o := range batch {
		if err == nil {
			err = client.Send(o.dst, o.buf.data)
		}
		o.buf.release()
	}
	if err != nil {
		return err
	}
	return client.Flush()
}

// receive hands on what the relay sends. When nobody takes it, the relay waits.
func (p *Pool) receive(ctx context.Context, l *link, client *derp.Client) error {
	told := notices{log: p.cfg.Logger.With("region", l.id)}
	for {
		f, err := client.Recv()
		if err != nil {
			return err
		}
		l.frames.Add(1)
		l.heard.Store(int64(p.sinceStart()))
		switch f.Type {
		case derp.FrameRecvPacket:
			buf := p.buffers.get(f.Data)
			select {
			case p.packets <- Packet{Region: l.id, Src: f.Peer, Data: buf.data, buf: buf}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case derp.FramePeerGone:
			p.peerAbsent(l, f)
		case derp.FrameHealth, derp.FrameRestarting:
			told.note(f)
		}
	}
}

// An errand is what transmit has to do.
type errand struct {
	batch   []outgoing
	home    bool // the region is our home
	moved   bool
	doubted bool
}

// take returns what is to be done, with what is queued in batch.
func (p *Pool) take(l *link, batch []outgoing) errand {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.moved {
		return errand{moved: true} // the queue is for the next connection
	}
	todo := errand{batch: l.queue.take(batch, time.Now()), home: l.home, doubted: l.doubted}
	l.doubted = false
	return todo
}

// retire takes l out of use if it is idle. Otherwise it returns after what
// time it is to be called again.
func (p *Pool) retire(l *link) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.home {
		return idleTimeout
	}
	left := idleTimeout - time.Since(l.used)
	if left <= 0 && p.byID[l.id] == l {
		delete(p.byID, l.id)
		p.notify()
		p.cfg.Logger.Debug("relay: no longer in use", "region", l.id)
	}
	return left
}

// up notes that l is connected.
func (p *Pool) up(l *link, client *derp.Client) {
	local := ip(client.LocalAddr())
	p.mu.Lock()
	l.connected, l.err = true, nil
	l.moved, l.local = false, local
	p.mu.Unlock()
	p.notify()
	p.cfg.Logger.Info("relay: connected", "region", l.id)
}

// ip returns the IP address of an end of a connection; invalid if it has none,
// as one through a proxy may.
func ip(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// lost notes that l is not connected, and why.
func (p *Pool) lost(l *link, err error) {
	p.mu.Lock()
	again := l.err != nil // said already
	l.connected, l.err = false, err
	p.mu.Unlock()
	p.notify()
	if again {
		p.cfg.Logger.Debug("relay: still not connected", "region", l.id, "err", err)
	} else {
		p.cfg.Logger.Warn("relay: not connected", "region", l.id, "err", err)
	}
}

// peerAbsent counts that the relay does not have a peer.
func (p *Pool) peerAbsent(l *link, f derp.Frame) {
	p.mu.Lock()
	l.absent++
	p.mu.Unlock()
	p.cfg.Logger.Debug("relay: peer is not there", "region", l.id, "peer", f.Peer.Short(), "reason", f.Reason)
}
