package netstack

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A stack ends in up to three steps:
//
//	StopListening, Drain   nobody can begin anything; what is open may finish
//	HangUp                 what is still open is reset
//	Close                  nothing is left

// StopListening closes all TCP listeners, and takes no more strays: what peers
// begin from now on is refused. Connections live on, and others can be dialled.
func (s *Stack) StopListening() {
	s.listening.Lock()
	s.deaf = true
	s.takeStrays(false, false, false)
	open := slices.Collect(maps.Keys(s.listeners))
	s.listening.Unlock()
	for _, l := range open {
		l.Close() // the error is that somebody else has closed it
	}
}

// drainLook is how often Drain looks; gVisor tells nobody when a connection has
// come to its end.
const drainLook = 10 * time.Millisecond

// Drain returns when no TCP connection is left, and all that was written to
// those that were closed has arrived; or, with its error, when ctx ends.
func (s *Stack) Drain(ctx context.Context) error {
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for s.busy() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return nil
		}
	}
	return nil
}

// HangUp resets all TCP connections, and ends everything else of which users
// have hold: they get net.ErrClosed. It returns how many peers there are to hear
// of it; the resets then wait for the reader of the device. After it comes Close.
func (s *Stack) HangUp() (told int) {
	s.hang.Do(func() {
		told = s.busy()
		close(s.done)
		s.ip.Close()
		s.tun.transit.close()
	})
	return told
}

// busy returns how many TCP connections have something to do.
func (s *Stack) busy() int {
	busy := s.busyOf(s.ip)
	if s.tun.transit != nil {
		busy += s.busyOf(s.tun.transit.ip)
	}
	return busy
}

func (s *Stack) busyOf(ip *stack.Stack) (busy int) {
	for _, ep := range ip.RegisteredEndpoints() {
		if connection, ok := ep.(*tcp.Endpoint); ok && s.isBusy(connection) {
			busy++
		}
	}
	return busy
}

// isBusy reports whether a connection has something to do. One that its user has
// closed has not, when all that was written has arrived.
func (s *Stack) isBusy(connection *tcp.Endpoint) bool {
	switch connection.EndpointState() {
	case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateCloseWait, tcp.StateLastAck, tcp.StateClosing:
		return true
	case tcp.StateFinWait2:
		return s.open.has(connection)
	}
	return false
}

// openConns are the connections that their users have not closed.
type openConns struct {
	mu        sync.Mutex
	endpoints map[tcpip.Endpoint]bool // guarded by mu
}

func (o *openConns) add(ep tcpip.Endpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endpoints[ep] = true
}

func (o *openConns) remove(ep tcpip.Endpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.endpoints, ep)
}

func (o *openConns) has(ep tcpip.Endpoint) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endpoints[ep]
}
