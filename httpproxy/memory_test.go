package httpproxy

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A memConn is one end of a connection in memory. It has deadlines and
// half-close, and buffers nothing.
type memConn struct {
	in, out       net.Conn // from and to the other end
	local, remote memAddr
}

type memAddr string

func (a memAddr) Network() string { return "memory" }
func (a memAddr) String() string  { return string(a) }

func memPipe(client, server memAddr) (*memConn, *memConn) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return &memConn{a, c, client, server}, &memConn{d, b, server, client}
}

func (c *memConn) Read(p []byte) (int, error)         { return c.in.Read(p) }
func (c *memConn) Write(p []byte) (int, error)        { return c.out.Write(p) }
func (c *memConn) CloseWrite() error                  { return c.out.Close() }
func (c *memConn) LocalAddr() net.Addr                { return c.local }
func (c *memConn) RemoteAddr() net.Addr               { return c.remote }
func (c *memConn) SetReadDeadline(t time.Time) error  { return c.in.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

func (c *memConn) SetDeadline(t time.Time) error {
	c.in.SetReadDeadline(t)
	return c.out.SetWriteDeadline(t)
}

func (c *memConn) Close() error {
	c.in.Close()
	return c.out.Close()
}

// A memListener accepts the connections that dial makes.
type memListener struct {
	addr   memAddr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func memListen(addr memAddr) *memListener {
	return &memListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := memPipe("client", l.addr)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: l.addr, Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// A memNet is what lies behind a proxy: listeners by address.
type memNet map[string]*memListener

// listen opens a listener of the network until the test ends.
func (n memNet) listen(t testing.TB, addr string) *memListener {
	l := memListen(memAddr(addr))
	n[addr] = l
	t.Cleanup(func() { l.Close() })
	return l
}

func (n memNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	l, ok := n[address]
	if !ok {
		host, _, _ := net.SplitHostPort(address)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return l.dial(ctx)
}
