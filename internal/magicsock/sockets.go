package magicsock

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/meshnet-go/meshnet/internal/udp"
)

// sockets are our UDP sockets, at most one for each IP version.
type sockets struct {
	v4, v6 *udp.Conn // nil when the host has none
}

// A listenFunc opens a UDP socket; network is "udp4" or "udp6".
type listenFunc func(ctx context.Context, network, addr string) (net.PacketConn, error)

// openSockets opens what the host has. Both sockets get the same port where
// that is possible: port if it is not 0 and free. Without listen there are none.
func openSockets(listen listenFunc, port uint16, log *slog.Logger) sockets {
	var s sockets
	if listen == nil {
		return s
	}
	s.v4 = openSocket(listen, "udp4", port, log)
	if s.v4 != nil && port == 0 {
		port = s.v4.LocalAddr().Port()
	}
	s.v6 = openSocket(listen, "udp6", port, log)
	return s
}

// openSocket makes do with any port when the wanted one is taken.
func openSocket(listen listenFunc, network string, port uint16, log *slog.Logger) *udp.Conn {
	for {
		pc, err := listen(context.Background(), network, ":"+strconv.Itoa(int(port)))
		if err == nil {
			return udp.New(pc)
		}
		if port == 0 {
			log.Info("no direct paths of one IP version", "network", network, "err", err)
			return nil
		}
		log.Info("the UDP port is not free, taking any", "network", network, "port", port, "err", err)
		port = 0
	}
}

// to returns the socket for an address, nil if there is none.
func (s sockets) to(a netip.Addr) *udp.Conn {
	if a.Is4() {
		return s.v4
	}
	return s.v6
}

// each calls f for each socket that there is.
func (s sockets) each(f func(*udp.Conn)) {
	for _, u := range []*udp.Conn{s.v4, s.v6} {
		if u != nil {
			f(u)
		}
	}
}

// none says that there is no way but relays.
func (s sockets) none() bool { return s.v4 == nil && s.v6 == nil }

// interrupt makes readers return, and resume lets them wait again.
func (s sockets) interrupt() { s.each(func(u *udp.Conn) { u.SetReadDeadline(time.Unix(1, 0)) }) }
func (s sockets) resume()    { s.each(func(u *udp.Conn) { u.SetReadDeadline(time.Time{}) }) }

func (s sockets) close() { s.each(func(u *udp.Conn) { u.Close() }) }
