package socks5

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A memConn is one end of a connection in memory. Unlike one of net.Pipe it
// has addresses, and its directions end one by one.
type memConn struct {
	in, out       net.Conn
	local, remote net.Addr
}

// memPipe returns both ends of a connection from one address to another.
func memPipe(from, to net.Addr) (client, server *memConn) {
	clientIn, serverOut := net.Pipe()
	serverIn, clientOut := net.Pipe()
	return &memConn{clientIn, clientOut, from, to}, &memConn{serverIn, serverOut, to, from}
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *memConn) CloseWrite() error           { return c.out.Close() }
func (c *memConn) Close() error                { return errors.Join(c.in.Close(), c.out.Close()) }
func (c *memConn) LocalAddr() net.Addr         { return c.local }
func (c *memConn) RemoteAddr() net.Addr        { return c.remote }

// Deadlines can be set, as in TCP, when the other end has closed; those of
// net.Pipe say that it has.
func (c *memConn) SetReadDeadline(t time.Time) error  { c.in.SetReadDeadline(t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.out.SetWriteDeadline(t); return nil }
func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func tcpAddr(s string) *net.TCPAddr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// A memListener hands over the connections that dial makes.
type memListener struct {
	addr   net.Addr
	conns  chan net.Conn
	close  sync.Once
	closed chan struct{}
}

func listenMem(addr string) *memListener {
	return &memListener{addr: tcpAddr(addr), conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects from an address; nil when the listener is closed.
func (l *memListener) dial(from string) net.Conn {
	client, server := memPipe(tcpAddr(from), l.addr)
	select {
	case l.conns <- server:
		return client
	case <-l.closed:
		return nil
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
	l.close.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// A logBook is a Logger that tests read.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A proxy is a Server on a listener in memory, for a test in a bubble.
type proxy struct {
	*Server
	ln   *memListener
	stop context.CancelFunc
	done chan error // what Serve returns
	log  *logBook
}

// newProxy serves s until the test ends.
func newProxy(t *testing.T, s *Server) *proxy {
	ctx, stop := context.WithCancel(context.Background())
	p := &proxy{Server: s, ln: listenMem("127.0.0.1:1080"), stop: stop, done: make(chan error, 1), log: new(logBook)}
	s.Logger = p.log.logger()
	go func() { p.done <- s.Serve(ctx, p.ln) }()
	t.Cleanup(func() {
		stop()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
	})
	return p
}

// A client speaks SOCKS5 byte by byte.
type client struct {
	net.Conn
	t testing.TB
}

func (p *proxy) connect(t testing.TB) *client {
	conn := p.ln.dial("127.0.0.1:50000")
	if conn == nil {
		t.Fatal("the proxy does not listen")
	}
	t.Cleanup(func() { conn.Close() })
	return &client{conn, t}
}

func (c *client) send(b ...[]byte) {
	c.t.Helper()
	if _, err := c.Write(bytes.Join(b, nil)); err != nil {
		c.t.Fatalf("sending %x: %v", b, err)
	}
}

func (c *client) want(sentence string, want []byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("%s: read %x, %v; want %x", sentence, got[:n], err, want)
	}
}

// wantEnd reads to the end.
func (c *client) wantEnd(sentence string) {
	c.t.Helper()
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		c.t.Fatalf("%s: read %x, %v; want the end", sentence, got, err)
	}
}

// request goes through the handshake without a password.
func (c *client) request(command Command, host string, port uint16) {
	c.t.Helper()
	c.send(anonymous)
	c.want("no password is needed", []byte{5, 0})
	c.send(request(command, host, port))
}

// The messages of a client.
var anonymous = []byte{version, 1, methodNone}
var withPassword = []byte{version, 1, methodPassword}

func login(user, password string) []byte {
	b := append([]byte{loginVersion, byte(len(user))}, user...)
	return append(append(b, byte(len(password))), password...)
}

func request(command Command, host string, port uint16) []byte {
	b := []byte{version, byte(command), 0}
	if ip := net.ParseIP(host); ip != nil {
		return appendAddress(b, addrPort(&net.TCPAddr{IP: ip, Port: int(port)}))
	}
	return append(b, wireName(host, port)...)
}

// reply is what the Server answers.
func reply(code replyCode, bound string) []byte {
	return appendReply(nil, code, addrPort(textAddr(bound)))
}

// failed is the reply to a request that failed.
func failed(code replyCode) []byte { return reply(code, "") }

// A network is targets in memory, by address.
type network map[string]func(net.Conn)

// Dial connects from 100.64.0.9:40000.
func (n network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	serve, ok := n[address]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	near, far := memPipe(tcpAddr("100.64.0.9:40000"), tcpAddr("100.64.0.1:1"))
	go func() {
		defer far.Close()
		serve(far)
	}()
	return near, nil
}

// echo answers with what it is sent, after the end of that.
func echo(c net.Conn) {
	b, _ := io.ReadAll(c)
	c.Write(b)
}

// mirror answers at once.
func mirror(c net.Conn) { io.Copy(c, c) }
