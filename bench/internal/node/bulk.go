package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Load asks a client for bulk transfers that go on until "unload".
type Load struct {
	Target  netip.Addr
	Streams int
	Down    bool // the server sends, and not the client
}

// stream is a bulk transfer, and done is closed when its goroutine has ended.
type stream struct {
	net.Conn
	done chan struct{}
}

func (n *node) load(l Load) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m, work := sink, flood
	if l.Down {
		m, work = source, n.drain
	}
	for range l.Streams {
		c, err := n.open(ctx, l.Target, m)
		if err != nil {
			return nil, err
		}
		s := stream{c, make(chan struct{})}
		n.streams = append(n.streams, s)
		go func() {
			defer close(s.done)
			work(c)
		}()
	}
	return nil, nil
}

// unload ends all transfers.
func (n *node) unload(struct{}) (any, error) {
	for _, s := range n.streams {
		s.Close()
		<-s.done
	}
	n.streams = nil
	return nil, nil
}

// Hold asks a client for connections that then do nothing.
type Hold struct {
	Target netip.Addr
	Conns  int
}

func (n *node) hold(h Hold) (any, error) {
	const atOnce = 16
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var (
		mu       sync.Mutex
		failures []error
		workers  sync.WaitGroup
		todo     = make(chan struct{}, h.Conns)
	)
	for range h.Conns {
		todo <- struct{}{}
	}
	close(todo)
	for range atOnce {
		workers.Go(func() {
			for range todo {
				c, err := n.open(ctx, h.Target, echo)
				mu.Lock()
				if err == nil {
					n.held = append(n.held, c)
				} else {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if len(failures) > 0 {
		return nil, fmt.Errorf("%d of %d connections failed: %w", len(failures), h.Conns, failures[0])
	}
	return nil, nil
}

// release closes the connections that are held.
func (n *node) release(struct{}) (any, error) {
	for _, c := range n.held {
		c.Close()
	}
	n.held = nil
	return nil, nil
}
