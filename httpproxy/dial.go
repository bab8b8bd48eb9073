package httpproxy

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
)

// A dialError is what Dial returned, to tell it from what goes wrong later.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial connects to a target. An http.Transport lets a dial go on when the
// request that wanted it has ended; it must not outlive the connection.
func (c *conn) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.server.DialTimeout, defaultDialTimeout))
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	nc, err := c.server.Dial(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	return nc, nil
}

// An origin is a Transport's connection to a target. It ends with the client's
// connection at the latest: a Transport keeps connections for later, and forgets
// one whose target agrees to leave HTTP when the client has just left.
type origin struct {
	net.Conn
	stop func() bool // the closing at the end
}

func (c *conn) dialOrigin(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &origin{nc, context.AfterFunc(c.ctx, func() { nc.Close() })}, nil
}

func (o *origin) Close() error {
	o.stop()
	return o.Conn.Close()
}

// CloseWrite is for upgraded connections.
func (o *origin) CloseWrite() error {
	if c, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// explain chooses status and words for an error on the way to a target. The
// statuses are those that RFC 9209 section 2.3 recommends. A name that is not
// found is a 502 as well: a 404 would pass for the word of the target, and be
// cached as such. The error itself is for the log, because it may hold what is
// not the client's business.
func explain(err error) (status int, why string) {
	var name *net.DNSError
	switch {
	case timeout(err):
		return http.StatusGatewayTimeout, "it did not answer in time"
	case errors.As(err, &name) && name.IsNotFound:
		return http.StatusBadGateway, "there is no such name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return http.StatusBadGateway, "it refuses connections to this port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return http.StatusBadGateway, "it cannot be reached"
	case errors.As(err, new(*dialError)):
		return http.StatusBadGateway, "the connection failed"
	}
	return http.StatusBadGateway, "it gave no proper answer"
}

func timeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout()
}
