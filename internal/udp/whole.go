package udp

import (
	"fmt"
	"net/netip"
	"syscall"
)

// WriteWhole sends a packet that the network must not cut into fragments: it
// drops the packet where it is too large for a link, and the host refuses it
// when it is too large for its own, so that one that arrives proves that its
// size passes. What the host believes about sizes on the way is not asked.
//
// Where the host cannot do that the error is [errors.ErrUnsupported], and
// nothing is sent. A socket that is not the host's sends as it always does.
func (c *Conn) WriteWhole(packet []byte, to netip.AddrPort) error {
	host, ok := c.pc.(syscall.Conn)
	if !ok {
		return c.WriteBatch([][]byte{packet}, to)
	}
	raw, err := host.SyscallConn()
	if err != nil {
		return fmt.Errorf("udp: forbidding fragments: %w", err)
	}
	c.whole.Lock()
	defer c.whole.Unlock()
	c.wholes.Add(1)
	defer c.wholes.Add(1)
	var allow func()
	if controlErr := raw.Control(func(fd uintptr) { allow, err = forbidFragments(fd) }); controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return fmt.Errorf("udp: forbidding fragments: %w", err)
	}
	defer raw.Control(func(uintptr) { allow() })
	return c.path.write([][]byte{packet}, unmap(to))
}

// setEither is the outcome of setting an option for IPv4 and for IPv6: a
// socket of one family refuses that of the other.
func setEither(err4, err6 error) error {
	if err6 == nil {
		return nil
	}
	return err4
}
