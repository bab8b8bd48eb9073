// Package socks5 is a SOCKS5 proxy server (RFC 1928, RFC 1929) over hooks: it
// speaks the protocol, and what it connects to, and how, is its user's to say.
//
//	srv := &socks5.Server{Dial: node.Dial, Auth: socks5.Credential("ann", "secret")}
//	ln, err := net.Listen("tcp", "127.0.0.1:1080")
//	…
//	err = srv.Serve(ctx, ln)
//
// CONNECT needs only Dial. With Listen there is BIND, with ListenPacket
// UDP ASSOCIATE, with Resolve names in datagrams. A Server with no more than
// Dial opens no socket of its own and asks no resolver.
//
//	client                          Server                          target
//	  │ greeting: methods             │                               │
//	  │──────────────────────────────►│                               │
//	  │            method, or FF: none│                               │
//	  │◄──────────────────────────────│                               │
//	  │ user name, password (RFC 1929)│  Auth                         │
//	  │◄─────────────────────────────►│                               │
//	  │ request: command, target      │  Allow                        │
//	  │──────────────────────────────►│  Dial                         │
//	  │                               │──────────────────────────────►│
//	  │         reply: code, BND.ADDR │                               │
//	  │◄──────────────────────────────│                               │
//	  │ bytes, either way, half-closes kept                           │
//	  │◄─────────────────────────────────────────────────────────────►│
//
// # UDP
//
// The reply to UDP ASSOCIATE names a UDP port of this host, on the address that
// the client's TCP connection came to, and the association lasts as long as that
// connection. The port takes datagrams from the client's IP address only, and
// there from one port: the one in the request or, when that is 0, the one that
// sends first. Fragments are dropped. All targets of an association share one
// socket on the far side. A reply is passed on when a datagram was sent to
// exactly the address that it comes from, and no two minutes have passed since
// without one in either direction; the 1,024 targets used last are remembered. A
// datagram that is too long for where it has to go is dropped, and never cut.
// On a listener whose addresses are not this host's, as on a mesh, there is no
// such port, and UDP ASSOCIATE fails.
//
// # Other libraries
//
// There are several SOCKS5 servers for Go. This is what their sources do, where
// it mattered for a proxy into a private network:
//
//   - github.com/armon/go-socks5 (e753329, of 2016) serves CONNECT, and keeps
//     half-closes. It resolves names before it dials, so that the dialer gets an
//     address.
//   - github.com/things-go/go-socks5 (b17fab9, of 2026) does so too, and adds UDP:
//     a socket and a goroutine for each target, without bound or expiry, and
//     datagrams from anybody when the client names 0.0.0.0:0, as it may.
//   - github.com/wzshiming/socks5 (v0.7.0) has the three commands. A connection
//     ends when one direction does; BIND takes whoever connects first; the
//     first to send to a UDP port is the client, to whom everything is passed on
//     that reaches the far socket; names in datagrams go to the host's
//     resolver.
//   - github.com/txthinking/socks5 (d3594b1) has CONNECT and UDP. A connection
//     ends when one direction does; its dialers are package variables; one UDP
//     port serves all clients and, unless LimitUDP is set, everybody else.
//   - tailscale.com/net/socks5 (v1.102.5) has CONNECT and UDP. A connection ends
//     when one direction does; anybody may send to a UDP port, and replies go to
//     whoever sent last; every failed dial has the reply code 1.
//
// None of them by itself bounds the time of a handshake, keeps places free when
// one client opens many connections, or ends connections at a shutdown, and none
// tells reply codes by anything but the text of an error, if at all. Most of this
// cannot be added from the outside, and a door into somebody's network needs it:
// hence this package.
package socks5

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/serve"
)

const (
	defaultHandshakeTimeout = 10 * time.Second
	defaultDialTimeout      = 30 * time.Second
	defaultMaxConns         = 4096
)

// ErrServerClosed is what [Server.Serve] returns after [Server.Shutdown].
var ErrServerClosed = errors.New("socks5: server closed")

// A Server is a SOCKS5 proxy. Set its fields before the first call of a method,
// and do not change them afterwards. Only Dial is required.
//
// The functions are called by many goroutines at once. They shall return when
// their context ends: after the times below, and when the Server closes the
// client's connection. That a client has left while Dial runs is not noticed
// before Dial returns.
type Server struct {
	// Dial connects to the target of a CONNECT request. The network is "tcp",
	// and the host of the address an IP address or a name as the client sent
	// it: who resolves names, and how, is for Dial to say. The errors that
	// package net gives become the reply codes that fit.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Listen opens the listener of a BIND request, on which one connection is
	// taken. The network is "tcp4" or "tcp6", as the address is that the client
	// expects the connection from; the address is ":0". The client is told
	// the listener's address, so that it should be a specific one. Without
	// Listen, BIND is not served.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	// ListenPacket opens the socket that a UDP association sends and receives
	// with on the far side; network "udp" and address ":0". Without it,
	// UDP ASSOCIATE is not served.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)

	// Resolve finds the addresses of names in datagrams and in BIND requests;
	// the network is "ip". The first address is sent to. Without Resolve, these
	// names are unknown: the Server never asks the host's resolver, except
	// when this is the method LookupNetIP of [net.DefaultResolver].
	Resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// Auth says whether user name and password are right; see [Credential].
	// Without it clients do not log in.
	Auth func(user, password string) bool

	// Allow returns an error for what a client may not do, and the client is
	// told that its request is not allowed. It is asked for every request and,
	// during a UDP association, for every new target, whose datagrams are
	// dropped then.
	Allow func(ctx context.Context, r *Request) error

	// Anonymous lets Serve take a listener that others than this machine reach
	// although there is no Auth. Otherwise Serve returns an error for it: an
	// open proxy is found and abused within hours. It is for listeners that
	// only those can reach who may, as on a mesh.
	Anonymous bool

	// HandshakeTimeout is the time for a client to say what it wants, Allow
	// included. Zero is 10 seconds.
	HandshakeTimeout time.Duration
	// DialTimeout is the time for Dial, for the wait of BIND for its connection,
	// and for finding out about a new target of datagrams. Zero is 30 seconds.
	DialTimeout time.Duration
	// IdleTimeout ends connections and UDP associations through which nothing
	// went in either direction for so long. Zero is never.
	IdleTimeout time.Duration
	// MaxConns bounds the clients' connections. When there are as many, a new
	// one takes the place of the one that has been in its handshake for
	// longest, or is closed. Zero is 4096.
	MaxConns int

	// Logger gets a line on the debug level for each connection when it has
	// ended, and warnings about the Server itself. Passwords are not logged. Nil
	// is silent.
	Logger *slog.Logger

	setUp sync.Once
	conns serve.Group // of conns()
}

// Serve accepts and serves connections until ctx ends, ln fails or
// [Server.Shutdown] is called, and closes ln. It returns the cause of ctx's end
// when all connections from ln are closed, or the error of ln, or
// [ErrServerClosed] at once. It returns an error without serving when Dial is
// missing or when this were an open proxy; see [Server.Anonymous].
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.servable(ln.Addr()); err != nil {
		ln.Close()
		return err
	}
	err := s.group().Serve(ctx, ln, s.handle)
	if errors.Is(err, serve.ErrClosed) {
		return ErrServerClosed
	}
	return err
}

// ServeConn serves one connection, which may have come from anywhere, and
// returns when it is closed. It is closed when ctx ends.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	err := error(nil)
	if s.Dial == nil {
		conn.Close()
		err = errNoDial
	} else {
		err = s.group().Run(ctx, conn, s.handle)
	}
	if err != nil {
		s.log().Debug("SOCKS5 connection refused", "client", conn.RemoteAddr(), "err", err)
	}
}

// Shutdown closes the listeners and the connections whose handshake has not
// ended, and waits until the others have ended. When ctx ends first, it closes
// these too, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.group().Shutdown(ctx)
}

func (s *Server) group() *serve.Group {
	s.setUp.Do(func() {
		s.conns.Max = cmp.Or(s.MaxConns, defaultMaxConns)
		s.conns.Logger = s.Logger
	})
	return &s.conns
}

func (s *Server) log() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

func (s *Server) handshakeTimeout() time.Duration {
	return cmp.Or(s.HandshakeTimeout, defaultHandshakeTimeout)
}

func (s *Server) dialTimeout() time.Duration {
	return cmp.Or(s.DialTimeout, defaultDialTimeout)
}

var errNoDial = errors.New("socks5: Server.Dial is nil")

// servable tells why a listener is not served.
func (s *Server) servable(at net.Addr) error {
	switch {
	case s.Dial == nil:
		return errNoDial
	case s.Auth == nil && !s.Anonymous && !serve.Local(at):
		return fmt.Errorf("socks5: %v can be reached by others, and there is no password: everybody could use this proxy; set Auth or, if that is meant, Anonymous", at)
	}
	return nil
}
