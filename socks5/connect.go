package socks5

import (
	"context"
	"fmt"
	"net"
)

// connect serves a CONNECT request.
func (c *session) connect(ctx context.Context) error {
	far, err := c.dial(ctx)
	if err != nil {
		return c.refuse(fmt.Errorf("dialing: %w", err))
	}
	if err := c.reply(far.LocalAddr()); err != nil {
		far.Close()
		return err
	}
	return c.splice(ctx, c.conn, far)
}

func (c *session) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.srv.dialTimeout())
	defer cancel()
	return c.srv.Dial(ctx, "tcp", c.req.Address())
}
