package socks5

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
	"github.com/meshnet-go/meshnet/internal/splice"
)

// A session is one client's connection.
type session struct {
	srv  *Server
	conn *serve.Conn

	req        Request // filled by the handshake
	clientPort uint16  // of UDP ASSOCIATE: where datagrams will come from; 0 when not known yet
	early      []byte  // of BIND: what the client sent before it was connected
	sent       int64   // bytes of the client to targets
	received   int64   // bytes of targets to the client
}

// handle serves one connection, and tells the log about it at the end.
func (s *Server) handle(ctx context.Context, conn *serve.Conn) {
	c := &session{srv: s, conn: conn, req: Request{Client: conn.RemoteAddr()}}
	err := c.run(ctx)
	attrs := []slog.Attr{slog.Any("client", c.req.Client)}
	if c.req.User != "" {
		attrs = append(attrs, slog.String("user", c.req.User))
	}
	if c.req.Command != 0 {
		attrs = append(attrs, slog.String("command", c.req.Command.String()))
	}
	if c.req.Host != "" {
		attrs = append(attrs, slog.String("target", c.req.Address()))
	}
	attrs = append(attrs, slog.Int64("sent", c.sent), slog.Int64("received", c.received))
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	s.log().LogAttrs(ctx, slog.LevelDebug, "SOCKS5 connection ended", attrs...)
}

func (c *session) run(ctx context.Context) error {
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.conn.Established()
	switch c.req.Command {
	case Connect:
		return c.connect(ctx)
	case Bind:
		return c.bind(ctx)
	}
	return c.associate(ctx)
}

// handshake reads what the client wants, up to the last byte and no further,
// and returns an error when it does not get it. The client knows already then.
func (c *session) handshake(ctx context.Context) error {
	deadline := time.Now().Add(c.srv.handshakeTimeout())
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	buf := make([]byte, maxMessage)
	if err := c.negotiate(buf); err != nil {
		return err
	}
	dst, err := c.readRequest(buf)
	if err != nil {
		return err
	}
	if err := c.admit(ctx, dst); err != nil {
		return c.refuse(err)
	}
	return c.conn.SetDeadline(time.Time{})
}

// negotiate chooses the method of authentication and goes through it.
func (c *session) negotiate(buf []byte) error {
	b, err := readMessage(c.conn, buf, greetingSize)
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	offered, err := parseGreeting(b)
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	method := chooseMethod(offered, c.srv.Auth != nil)
	if method == methodUnacceptable {
		c.farewell([]byte{version, methodUnacceptable})
		return fmt.Errorf("no method of authentication that will do among those offered, %x", b[2:])
	}
	if _, err := c.conn.Write([]byte{version, method}); err != nil {
		return fmt.Errorf("answering the greeting: %w", err)
	}
	if method == methodPassword {
		return c.login(buf)
	}
	return nil
}

// login checks user name and password (RFC 1929).
func (c *session) login(buf []byte) error {
	b, err := readMessage(c.conn, buf, loginSize)
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	user, password, err := parseLogin(b)
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	if !c.srv.Auth(user, password) {
		c.farewell([]byte{loginVersion, loginRefused})
		return fmt.Errorf("wrong password, or no such user as %q", user)
	}
	c.req.User = user
	if _, err := c.conn.Write([]byte{loginVersion, loginAccepted}); err != nil {
		return fmt.Errorf("accepting the password: %w", err)
	}
	return nil
}

func (c *session) readRequest(buf []byte) (dst address, err error) {
	b, err := readMessage(c.conn, buf, requestSize)
	if err == nil {
		c.req.Command, dst, err = parseRequest(b)
	}
	if errors.Is(err, errAddressType) || errors.Is(err, errName) {
		return address{}, c.refuse(err)
	}
	if err != nil {
		return address{}, fmt.Errorf("reading the request: %w", err)
	}
	return dst, nil
}

// admit decides whether the request is served, and completes it.
func (c *session) admit(ctx context.Context, dst address) error {
	c.req.Host, c.req.Port = dst.host(), dst.port
	served := false
	switch c.req.Command {
	case Connect:
		served = true
	case Bind:
		served = c.srv.Listen != nil
	case Associate:
		served = c.srv.ListenPacket != nil
		// The address is the one that the client will send from. Its host is
		// that of the connection, whatever is said here.
		c.req.Host, c.req.Port, c.clientPort = "", 0, dst.port
	}
	if !served {
		return fmt.Errorf("%v: %w", c.req.Command, errCommand)
	}
	return c.srv.allow(ctx, c.req)
}

// allow asks the Server's user, who gets a copy of the request to keep.
func (s *Server) allow(ctx context.Context, r Request) error {
	if s.Allow == nil {
		return nil
	}
	if err := s.Allow(ctx, &r); err != nil {
		return &refusal{err}
	}
	return nil
}

// reply tells the client of success.
func (c *session) reply(bound net.Addr) error {
	c.conn.SetWriteDeadline(time.Now().Add(c.srv.handshakeTimeout()))
	if _, err := c.conn.Write(appendReply(nil, succeeded, addrPort(bound))); err != nil {
		return fmt.Errorf("writing a reply: %w", err)
	}
	return c.conn.SetWriteDeadline(time.Time{})
}

// refuse tells the client that its request failed, and returns err.
func (c *session) refuse(err error) error {
	c.farewell(appendReply(nil, codeOf(err), netip.AddrPort{}))
	return err
}

// Bounds of what a client may send after a request that failed.
const (
	farewellTime  = time.Second
	farewellBytes = 64 << 10
)

// farewell writes the last message to the client. It reads what the client has
// sent already, because TCP resets a connection that is closed with bytes
// unread, and the message may be lost with it.
func (c *session) farewell(message []byte) {
	c.conn.SetDeadline(time.Now().Add(farewellTime))
	if _, err := c.conn.Write(message); err == nil && c.conn.CloseWrite() == nil {
		io.CopyN(io.Discard, c.conn, farewellBytes)
	}
}

// splice carries bytes between the client and far until both have ended.
func (c *session) splice(ctx context.Context, near, far net.Conn) (err error) {
	c.sent, c.received, err = splice.Conns(ctx, near, far, c.srv.IdleTimeout)
	return err
}
