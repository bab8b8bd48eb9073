package meshnet

import (
	"context"
	"io"
	"net"
	"sync"
)

// hostSockets are sockets of the host's that are closed with their stack.
type hostSockets struct {
	open context.Context // ends with the stack
	end  context.CancelFunc

	mu      sync.Mutex
	sockets map[io.Closer]bool // guarded by mu; nil when the stack has ended
	deaf    bool               // guarded by mu: there are no more listeners
	left    chan struct{}      // holds one when a socket was closed since the last look
}

func newHostSockets() hostSockets {
	open, end := context.WithCancel(context.Background())
	return hostSockets{open: open, end: end, sockets: make(map[io.Closer]bool), left: make(chan struct{}, 1)}
}

// add is an error, and closes the socket, when it comes too late.
func (h *hostSockets) add(socket io.Closer) error {
	h.mu.Lock()
	_, listens := socket.(*hostListener)
	late := h.sockets == nil || h.deaf && listens
	if !late {
		h.sockets[socket] = true
	}
	h.mu.Unlock()
	if late {
		socket.Close()
		return net.ErrClosed
	}
	return nil
}

func (h *hostSockets) remove(socket io.Closer) {
	h.mu.Lock()
	delete(h.sockets, socket)
	h.mu.Unlock()
	select {
	case h.left <- struct{}{}:
	default:
	}
}

// own takes what was dialled or accepted.
func (h *hostSockets) own(c net.Conn) (net.Conn, error) {
	var owned net.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		owned = &hostTCPConn{c, h}
	case *net.UDPConn:
		owned = &hostUDPConn{c, h}
	}
	if err := h.add(owned); err != nil {
		return nil, &net.OpError{Op: "dial", Net: c.RemoteAddr().Network(), Addr: c.RemoteAddr(), Err: err}
	}
	return owned, nil
}

func (h *hostSockets) ownPacketConn(c *net.UDPConn) (net.PacketConn, error) {
	owned := &hostUDPConn{c, h}
	if err := h.add(owned); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: c.LocalAddr(), Err: err}
	}
	return owned, nil
}

func (h *hostSockets) ownListener(ln net.Listener) (net.Listener, error) {
	owned := &hostListener{ln, h}
	if err := h.add(owned); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: ln.Addr(), Err: err}
	}
	return owned, nil
}

func (h *hostSockets) stopListening() {
	h.mu.Lock()
	h.deaf = true
	listeners := socketsOf[*hostListener](h.sockets)
	h.mu.Unlock()
	for _, l := range listeners {
		l.Close() // the error is that somebody else has closed it
	}
}

// socketsOf returns the sockets of a type.
func socketsOf[T io.Closer](sockets map[io.Closer]bool) (found []T) {
	for socket := range sockets {
		if s, ok := socket.(T); ok {
			found = append(found, s)
		}
	}
	return found
}

func (h *hostSockets) connections() []*hostTCPConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return socketsOf[*hostTCPConn](h.sockets)
}

// waitClosed returns when no TCP connection is open.
func (h *hostSockets) waitClosed(ctx context.Context) error {
	for len(h.connections()) > 0 {
		select {
		case <-h.left:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.open.Done():
			return nil
		}
	}
	return nil
}

// hangUp closes all, resets connections, and returns how many these were.
func (h *hostSockets) hangUp() (told int) {
	h.end()
	h.mu.Lock()
	all := h.sockets
	h.sockets = nil
	h.mu.Unlock()
	connections := socketsOf[*hostTCPConn](all)
	for _, c := range connections {
		c.SetLinger(0)
	}
	for socket := range all {
		socket.Close()
	}
	return len(connections)
}

type hostTCPConn struct {
	*net.TCPConn
	sockets *hostSockets
}

func (c *hostTCPConn) Close() error {
	c.sockets.remove(c)
	return c.TCPConn.Close()
}

type hostUDPConn struct {
	*net.UDPConn
	sockets *hostSockets
}

func (c *hostUDPConn) Close() error {
	c.sockets.remove(c)
	return c.UDPConn.Close()
}

type hostListener struct {
	net.Listener
	sockets *hostSockets
}

func (l *hostListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.sockets.own(c)
}

func (l *hostListener) Close() error {
	l.sockets.remove(l)
	return l.Listener.Close()
}
