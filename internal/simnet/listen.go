package simnet

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// backlog is how many connections wait for Accept: Linux's default. Further
// requests are dropped, and come again after a second.
const backlog = 4096

// Listen listens for connections for "tcp", "tcp4" or "tcp6" on an address and
// port, as [net.Listen] does: no address means all, those of later Moves
// included, and port 0 means any free one. ctx is not needed. A connection is
// there when the request of its dialer is. The connections also have CloseWrite
// and SetLinger, the listener SetDeadline, as those of package net.
func (h *Host) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	where, err := h.net.bindingFor(network, "tcp", addr)
	if err != nil {
		return nil, opError("listen", "bind", network, nil, nil, err)
	}
	l := &listener{host: h, where: where}
	l.changed.L = &l.mu
	h.net.lock()
	defer h.net.unlock()
	if err := bind(h, h.tcp, &l.where); err != nil {
		return nil, opError("listen", "bind", network, nil, net.TCPAddrFromAddrPort(where.shown()), err)
	}
	h.tcp[l.where.port] = append(h.tcp[l.where.port], l)
	return l, nil
}

// A listener is a TCP socket that listens.
type listener struct {
	host  *Host
	where binding

	mu       sync.Mutex
	changed  sync.Cond
	queue    fifo[*stream]
	closed   bool
	deadline deadline
}

func (l *listener) bound() binding { return l.where }

// Addr returns where the listener is bound.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.where.shown()) }

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", net.ErrClosed)
		case l.deadline.passed:
			return nil, l.opError("accept", os.ErrDeadlineExceeded)
		case l.queue.len() > 0:
			return l.queue.pop(), nil
		}
		l.changed.Wait()
	}
}

// SetDeadline says until when Accept waits.
func (l *listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("set", net.ErrClosed)
	}
	l.deadline.set(t, &l.changed)
	return nil
}

// Close stops listening. Connections that nobody has accepted are reset.
func (l *listener) Close() error {
	l.host.net.lock()
	defer l.host.net.unlock()
	l.host.tcp.remove(l)
	if !l.shut() {
		return l.opError("close", net.ErrClosed)
	}
	return nil
}

// shut is Close with the network locked; it says whether l was open.
func (l *listener) shut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.closed = true
	l.deadline.stop()
	for l.queue.len() > 0 {
		l.queue.pop().in.circuit.fail(errReset)
	}
	l.changed.Broadcast()
	return true
}

// push hands over a connection, if there is room.
func (l *listener) push(s *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.queue.len() >= backlog {
		return false
	}
	l.queue.push(s)
	l.changed.Signal()
	return true
}

func (l *listener) opError(op string, err error) error {
	return opError(op, op, l.where.network, nil, l.Addr(), err)
}
