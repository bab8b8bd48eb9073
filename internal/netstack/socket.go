package netstack

import (
	"bytes"
	"net"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A socket is what connections, listeners and packet connections have in
// common: gVisor's endpoint, which never blocks, and how to wait for it.
type socket struct {
	stack *Stack
	ep    tcpip.Endpoint
	queue *waiter.Queue

	network       string   // "tcp", "udp4", …, as in the errors of package net
	local, remote net.Addr // fixed; remote is nil where there is none

	stop   sync.Once
	closed chan struct{}
}

// newEndpoint makes an endpoint of the stack, unless the stack is closed.
func (s *Stack) newEndpoint(transport tcpip.TransportProtocolNumber, family tcpip.NetworkProtocolNumber) (tcpip.Endpoint, *waiter.Queue, error) {
	if isClosed(s.done) {
		return nil, nil, net.ErrClosed
	}
	queue := new(waiter.Queue)
	ep, err := s.ip.NewEndpoint(transport, family, queue)
	if err != nil {
		return nil, nil, errno(err)
	}
	return ep, queue, nil
}

// abort ends ep without waiting for its peer.
func abort(ep tcpip.Endpoint) {
	ep.(stack.TransportEndpoint).Abort()
}

// await calls try until it does not say that it would block, waiting for events
// in between, or for what look returns if there is a look. It gives up when expired
// is closed, or the socket or the stack.
func (s *socket) await(events waiter.EventMask, expired <-chan struct{}, look func() <-chan time.Time, try func() tcpip.Error) error {
	if s.isClosed() {
		return net.ErrClosed
	}
	if isClosed(expired) {
		return os.ErrDeadlineExceeded
	}
	err := try()
	if !wouldBlock(err) {
		return s.result(err)
	}
	w := s.stack.waiters.Get().(*waiting)
	s.queue.EventRegister(w.entry(events | waiter.EventErr | waiter.EventHUp))
	defer func() {
		s.queue.EventUnregister(&w.registered)
		s.stack.waiters.Put(w)
	}()
	var soon <-chan time.Time
	for {
		// Once more, for what happened before we were registered.
		if err := try(); !wouldBlock(err) {
			return s.result(err)
		}
		if look != nil {
			soon = look()
		}
		select {
		case <-w.ready:
		case <-soon:
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-s.closed:
			return net.ErrClosed
		case <-s.stack.done:
			return net.ErrClosed
		}
	}
}

// A waiting is what a goroutine waits with for events of an endpoint. They are
// used again: whoever moves much waits often.
type waiting struct {
	registered waiter.Entry
	ready      waiter.ChannelNotifier
}

func newWaiting() any {
	return &waiting{ready: make(waiter.ChannelNotifier, 1)}
}

// entry is to be registered, for events.
func (w *waiting) entry(events waiter.EventMask) *waiter.Entry {
	select {
	case <-w.ready: // the last one did not wait for it any more
	default:
	}
	w.registered.Init(w.ready, events)
	return &w.registered
}

// A readHalf is the half of a connection that is read, by one goroutine at a time.
type readHalf struct {
	deadline
	reading sync.Mutex
	into    tcpip.SliceWriter // of who reads: here it is not allocated for each Read
}

// readInto reads into p, and waits until there is something.
func (s *socket) readInto(r *readHalf, p []byte, options tcpip.ReadOptions) (result tcpip.ReadResult, ended bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	err = s.await(waiter.ReadableEvents, r.wait(), nil, func() (err tcpip.Error) {
		r.into = p
		result, err = s.ep.Read(&r.into, options)
		_, ended = err.(*tcpip.ErrClosedForReceive)
		return err
	})
	r.into = nil
	return result, ended && !s.isClosed(), err
}

// A writeHalf is the half of a connection that is written, by one goroutine at a
// time, so that what they write does not mix.
type writeHalf struct {
	deadline
	writing sync.Mutex
	from    bytes.Reader // what is left to write: here it is not allocated for each Write
}

func wouldBlock(err tcpip.Error) bool {
	_, blocked := err.(*tcpip.ErrWouldBlock)
	return blocked
}

// result is the Go error for err. What fails because the socket was closed
// under it fails with net.ErrClosed, whatever gVisor calls it.
func (s *socket) result(err tcpip.Error) error {
	switch {
	case err == nil:
		return nil
	case s.isClosed():
		return net.ErrClosed
	default:
		return errno(err)
	}
}

func (s *socket) isClosed() bool {
	return isClosed(s.closed) || isClosed(s.stack.done)
}

// Close ends the socket and wakes everybody who waits for it.
func (s *socket) Close() error {
	first := false
	s.stop.Do(func() {
		first = true
		close(s.closed)
		s.ep.Close()
	})
	if !first {
		return s.opError("close", "close", s.remote, net.ErrClosed)
	}
	return nil
}

// LocalAddr returns our address.
func (s *socket) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the peer's address, nil on a socket without one.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

func (s *socket) opError(op, call string, addr net.Addr, err error) error {
	return opError(op, call, s.network, s.local, addr, err)
}

// setDeadline sets one of the socket's deadlines.
func (s *socket) setDeadline(d *deadline, t time.Time) error {
	if s.isClosed() {
		return s.opError("set", "set", s.remote, net.ErrClosed)
	}
	d.set(t)
	return nil
}
