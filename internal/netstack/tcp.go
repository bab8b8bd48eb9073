package netstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections may wait for Accept. Those that come when it
// is full are made to wait by TCP itself.
const backlog = 1024

// DialTCP connects to remote, from local or, when that is the zero Addr, from
// the address that fits. The connection also has CloseRead and CloseWrite.
func (s *Stack) DialTCP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	c, err := s.dialTCP(ctx, network, local, remote)
	if err != nil {
		return nil, opError("dial", "connect", network, nil, net.TCPAddrFromAddrPort(remote), err)
	}
	return c, nil
}

func (s *Stack) dialTCP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (*tcpConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	remote, err := s.destination(remote)
	if err != nil {
		return nil, err
	}
	ep, queue, err := s.newEndpoint(tcp.ProtocolNumber, familyOf(remote.Addr()))
	if err != nil {
		return nil, err
	}
	if local.IsValid() {
		if err := ep.Bind(tcpip.FullAddress{Addr: toTCPIP(local)}); err != nil {
			ep.Close()
			return nil, errno(err)
		}
	}
	to := toFull(remote)
	if err := s.connect(ctx, ep, queue, to); err != nil {
		abort(ep)
		return nil, err
	}
	return s.newTCPConn(network, ep, queue, to), nil
}

// connect returns when ep is connected, has failed, or need not go on.
func (s *Stack) connect(ctx context.Context, ep tcpip.Endpoint, queue *waiter.Queue, to tcpip.FullAddress) error {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	for {
		// The first call starts to connect, later ones tell what came of it.
		switch err := ep.Connect(to).(type) {
		case nil:
			if isClosed(s.done) { // Close may have missed ep, and waits for it
				return net.ErrClosed
			}
			return nil
		case *tcpip.ErrConnectStarted, *tcpip.ErrAlreadyConnecting:
		default:
			return errno(err)
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return net.ErrClosed
		}
	}
}

// ListenTCP listens on addr for "tcp", "tcp4" or "tcp6". An invalid or
// unspecified address means all addresses, those of later SetAddrs included,
// which "tcp" serves in both families. Port 0 chooses a free port.
func (s *Stack) ListenTCP(network string, addr netip.AddrPort) (net.Listener, error) {
	l, err := s.listenTCP(network, addr)
	if err != nil {
		return nil, opError("listen", "bind", network, nil, net.TCPAddrFromAddrPort(addr), err)
	}
	return l, nil
}

func (s *Stack) listenTCP(network string, addr netip.AddrPort) (*tcpListener, error) {
	where, err := bindingFor(network, "tcp", addr)
	if err != nil {
		return nil, err
	}
	ep, queue, err := s.newEndpoint(tcp.ProtocolNumber, where.family)
	if err != nil {
		return nil, err
	}
	l := &tcpListener{socket{
		stack:   s,
		ep:      ep,
		queue:   queue,
		network: network,
		closed:  make(chan struct{}),
	}}
	if err := s.bindListener(&where, l); err != nil {
		ep.Close()
		return nil, err
	}
	return l, nil
}

// bindListener binds l and listens. As in package net, connections of an
// earlier listener do not keep its port from a new one, which takes
// SO_REUSEADDR. With that, gVisor lets one listener on all addresses and one
// on a single address share a port, which the kernel does not; nor do we.
func (s *Stack) bindListener(where *binding, l *tcpListener) error {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.deaf {
		return net.ErrClosed
	}
	l.ep.SocketOptions().SetReuseAddress(true)
	if err := where.apply(l.ep); err != nil {
		return err
	}
	for _, other := range s.listeners {
		if where.overlaps(other) {
			return syscall.EADDRINUSE
		}
	}
	if err := l.ep.Listen(backlog); err != nil {
		return errno(err)
	}
	if isClosed(s.done) { // since newEndpoint: Close may have missed it, and waits for it
		return net.ErrClosed
	}
	l.local = net.TCPAddrFromAddrPort(where.shown)
	s.listeners[l] = *where
	return nil
}

// A tcpListener is a net.Listener.
type tcpListener struct{ socket }

// Addr returns the address that the listener listens on.
func (l *tcpListener) Addr() net.Addr { return l.local }

// Accept waits for the next connection.
func (l *tcpListener) Accept() (net.Conn, error) {
	var (
		ep    tcpip.Endpoint
		queue *waiter.Queue
		peer  tcpip.FullAddress
	)
	err := l.await(waiter.ReadableEvents, nil, nil, func() (err tcpip.Error) {
		ep, queue, err = l.ep.Accept(&peer)
		return err
	})
	if err != nil {
		return nil, opError("accept", "accept", l.network, nil, l.local, err)
	}
	return l.stack.newTCPConn(l.network, ep, queue, peer), nil
}

// Close stops listening. Connections that nobody has accepted are reset.
func (l *tcpListener) Close() error {
	if err := l.socket.Close(); err != nil {
		return opError("close", "close", l.network, nil, l.local, net.ErrClosed)
	}
	l.stack.listening.Lock()
	defer l.stack.listening.Unlock()
	delete(l.stack.listeners, l)
	return nil
}

// A tcpConn is a net.Conn with CloseRead and CloseWrite.
type tcpConn struct {
	socket
	read  readHalf
	write writeHalf // guards the rest

	sent   int         // bytes that were written
	buffer *sendBuffer // nil until it was full
	waits  bool        // Write does, for room
}

// A sendBuffer is one that was full, which it is often where much is sent.
type sendBuffer struct {
	pipe pipe
	info tcpip.TCPInfoOption // what gVisor answered last: here it is not allocated each time
	long bool                // the path is, as far as congestion control is concerned
	look *time.Timer         // nil until there was one
}

func (s *Stack) newTCPConn(network string, ep tcpip.Endpoint, queue *waiter.Queue, peer tcpip.FullAddress) *tcpConn {
	keepAlive(ep)
	s.open.add(ep)
	local, _ := ep.GetLocalAddress() // cannot fail for TCP
	return &tcpConn{socket: socket{
		stack:   s,
		ep:      ep,
		queue:   queue,
		network: network,
		local:   net.TCPAddrFromAddrPort(fromFull(local)),
		remote:  net.TCPAddrFromAddrPort(fromFull(peer)),
		closed:  make(chan struct{}),
	}}
}

// As package net has it on all of its connections (net.KeepAliveConfig): a
// silent peer is asked after 15 s, and given up after nine more such times.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// keepAlive makes a Read fail at last when the peer has vanished.
func keepAlive(ep tcpip.Endpoint) {
	idle, interval := tcpip.KeepaliveIdleOption(keepAliveIdle), tcpip.KeepaliveIntervalOption(keepAliveInterval)
	ep.SetSockOpt(&idle) // these know no errors
	ep.SetSockOpt(&interval)
	ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveCount)
	ep.SocketOptions().SetKeepAlive(true)
}

// Close sends what is queued in the background.
func (c *tcpConn) Close() error {
	err := c.socket.Close()
	c.stack.open.remove(c.ep)
	return err
}

// Read reads what has arrived, and waits when nothing has.
func (c *tcpConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	result, ended, err := c.readInto(&c.read, p, tcpip.ReadOptions{})
	switch {
	case ended:
		return 0, io.EOF
	case err != nil:
		return 0, c.opError("read", "read", c.remote, err)
	}
	c.ep.ModerateRecvBuf(result.Count)
	return result.Count, nil
}

// Write queues p for sending and waits for room in the queue.
func (c *tcpConn) Write(p []byte) (int, error) {
	c.write.writing.Lock()
	defer c.write.writing.Unlock()
	defer c.wrote()
	n := 0
	err := c.await(waiter.WritableEvents, c.write.wait(), c.full, func() tcpip.Error {
		for n < len(p) {
			// From n on, and not from where it was read to: gVisor may have taken less.
			c.write.from.Reset(p[n:])
			taken, err := c.ep.Write(&c.write.from, tcpip.WriteOptions{})
			n += int(taken)
			c.sent += int(taken)
			if err != nil {
				return err
			}
		}
		return nil
	})
	c.write.from.Reset(nil)
	if err != nil {
		return n, c.opError("write", "write", c.remote, err)
	}
	return n, nil
}

// wrote ends a Write that may have waited.
func (c *tcpConn) wrote() {
	if c.waits {
		c.waits = false
		c.stack.writers.Add(-1)
	}
}

// sendShare is what a connection's send buffer may have on a short path.
func (s *Stack) sendShare() int {
	return max(tcpSendMax/int(max(s.writers.Load(), 1)), tcpSendShare)
}

// full adapts the send buffer, which is full, to the path. It returns when to look
// again whether there is room, nil if gVisor tells.
func (c *tcpConn) full() <-chan time.Time {
	if c.buffer == nil {
		c.buffer = new(sendBuffer)
	}
	b := c.buffer
	if !c.waits {
		c.waits = true
		c.stack.writers.Add(1)
	}
	if err := c.ep.GetSockOpt(&b.info); err != nil {
		return nil
	}
	options := c.ep.SocketOptions()
	now := buffered{
		written:  c.sent,
		size:     int(options.GetSendBufferSize()),
		share:    c.stack.sendShare(),
		trip:     b.info.RTT,
		recovers: b.info.CcState != tcpip.Open,
	}
	size, look := b.pipe.full(time.Now(), now)
	if size != 0 && size != now.size {
		options.SetSendBufferSize(int64(size), true)
	}
	if long := look != 0; long != b.long && !now.recovers {
		b.long = long
		control := congestionControl(long)
		c.ep.SetSockOpt(&control)
	}
	if look == 0 {
		return nil
	}
	if b.look == nil {
		b.look = time.NewTimer(look)
	} else {
		b.look.Reset(look)
	}
	return b.look.C
}

// CloseRead makes further Reads return io.EOF.
func (c *tcpConn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

// CloseWrite tells the peer that nothing more will come; Reads go on.
func (c *tcpConn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

// SetLinger is that of [net.TCPConn], as far as it can be had: with 0 seconds
// Close resets the connection, and otherwise it sends what is queued in the
// background.
func (c *tcpConn) SetLinger(seconds int) error {
	if c.isClosed() {
		return c.opError("set", "setsockopt", c.remote, net.ErrClosed)
	}
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: seconds == 0})
	return nil
}

func (c *tcpConn) shutdown(flags tcpip.ShutdownFlags) error {
	if c.isClosed() {
		return c.opError("close", "shutdown", c.remote, net.ErrClosed)
	}
	if err := c.ep.Shutdown(flags); err != nil {
		return c.opError("close", "shutdown", c.remote, c.result(err))
	}
	return nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *tcpConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline says until when Reads wait; writing is not touched.
func (c *tcpConn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read.deadline, t) }

// SetWriteDeadline says until when Writes wait; reading is not touched.
func (c *tcpConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write.deadline, t) }
