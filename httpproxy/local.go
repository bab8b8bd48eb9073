package httpproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// check says why the Server cannot serve a listener on addr.
func (s *Server) check(addr net.Addr) error {
	switch {
	case s.Dial == nil:
		return errors.New("httpproxy: Server.Dial is missing")
	case s.Auth == nil && !s.Anonymous && !local(addr):
		return fmt.Errorf("httpproxy: refusing to serve on %v, which is reached from beyond this machine, without a password: set Auth, or Anonymous", addr)
	}
	return nil
}

// local says whether only this machine reaches a listener on addr: IP addresses
// must be loopback, and what is not IP (Unix sockets, pipes) is local.
func local(addr net.Addr) bool {
	switch network := addr.Network(); {
	case strings.HasPrefix(network, "tcp"), strings.HasPrefix(network, "udp"), strings.HasPrefix(network, "ip"):
		at, err := netip.ParseAddrPort(addr.String())
		return err == nil && at.Addr().Unmap().IsLoopback()
	}
	return true
}
