package httpproxy

import (
	"errors"
	"io"
	"time"
)

// An upgraded is the target's side of a connection that has left HTTP, for
// WebSocket say. It counts what passes, and closes when nothing has for
// IdleTimeout.
type upgraded struct {
	io.ReadWriteCloser
	x     *exchange
	idle  time.Duration
	timer *time.Timer // nil without a timeout
}

func newUpgraded(x *exchange, stream io.ReadWriteCloser) *upgraded {
	u := &upgraded{ReadWriteCloser: stream, x: x, idle: x.conn.server.IdleTimeout}
	if u.idle > 0 {
		u.timer = time.AfterFunc(u.idle, func() { stream.Close() })
	}
	return u
}

func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	u.moved(n)
	u.x.toClient.Add(int64(n))
	return n, err
}

func (u *upgraded) Write(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Write(p)
	u.moved(n)
	u.x.toTarget.Add(int64(n))
	return n, err
}

// CloseWrite keeps half-close. http.Transport's streams have it.
func (u *upgraded) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (u *upgraded) Close() error {
	if u.timer != nil {
		u.timer.Stop()
	}
	return u.ReadWriteCloser.Close()
}

// moved notes that n bytes have.
func (u *upgraded) moved(n int) {
	if n > 0 && u.timer != nil {
		u.timer.Reset(u.idle)
	}
}
