package socks5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
)

// errClientGone is why something ends that was done for a client.
var errClientGone = errors.New("the client closed its connection")

// bind serves a BIND request. The client gets two replies: the first with the
// address of a listener, the second with the address that has connected to it.
func (c *session) bind(ctx context.Context) error {
	far, err := c.rendezvous(ctx)
	if err != nil {
		return c.refuse(err)
	}
	if err := c.reply(far.RemoteAddr()); err != nil {
		far.Close()
		return err
	}
	return c.splice(ctx, &earlyConn{c.conn, c.early}, far)
}

// rendezvous gives the first reply, and returns the connection that came then.
func (c *session) rendezvous(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.srv.dialTimeout())
	defer cancel()
	from, err := c.srv.lookup(ctx, c.req.Host)
	if err != nil {
		return nil, err
	}
	network := "tcp4"
	if from[0].Is6() {
		network = "tcp6"
	}
	ln, err := c.srv.Listen(ctx, network, ":0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	defer ln.Close()
	if err := c.reply(ln.Addr()); err != nil {
		return nil, err
	}
	far, err := c.await(ctx, ln, from)
	if err != nil {
		return nil, fmt.Errorf("waiting for a connection: %w", err)
	}
	return far, nil
}

// lookup returns the addresses of a host, at least one.
func (s *Server) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	unknown := &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	if s.Resolve == nil {
		return nil, unknown
	}
	found, err := s.Resolve(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", host, err)
	}
	if len(found) == 0 {
		return nil, unknown
	}
	addrs := make([]netip.Addr, len(found))
	for i, ip := range found {
		addrs[i] = ip.Unmap()
	}
	return addrs, nil
}

// await takes the first connection that comes from one of the addresses, and
// closes ln. It gives up when ctx or the client's connection ends.
func (c *session) await(ctx context.Context, ln net.Listener, from []netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		cancel(c.watch())
	}()
	far, err := acceptFrom(ln, from)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	ln.Close()
	c.conn.SetReadDeadline(time.Unix(1, 0)) // ends watch
	<-watched
	c.conn.SetReadDeadline(time.Time{})
	return far, err
}

// maxEarly is how much a client may send before its BIND request has a
// connection.
const maxEarly = 4 << 10

// watch returns when the client's connection ends, which only reading tells. It
// keeps what it reads.
func (c *session) watch() error {
	for {
		c.early = slices.Grow(c.early, 512)
		n, err := c.conn.Read(c.early[len(c.early):cap(c.early)])
		c.early = c.early[:len(c.early)+n]
		switch {
		case err != nil:
			return errClientGone
		case len(c.early) > maxEarly:
			return errors.New("the client sends before it is connected")
		}
	}
}

// An earlyConn is a client's connection of which something was read before.
type earlyConn struct {
	*serve.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// acceptFrom closes connections from elsewhere. An unspecified address stands
// for all.
func acceptFrom(ln net.Listener, from []netip.Addr) (net.Conn, error) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		if from[0].IsUnspecified() || slices.Contains(from, addrPort(conn.RemoteAddr()).Addr()) {
			return conn, nil
		}
		conn.Close()
	}
}
