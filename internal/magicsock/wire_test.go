package magicsock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/stun"
)

// A wire joins sockets in memory: an underlay without NATs, latency or loss,
// of which hosts can be taken off. Whoever is asked by STUN answers.
type wire struct {
	mu      sync.Mutex
	sockets map[netip.AddrPort]*wireSocket
	off     map[netip.Addr]bool
	sent    int // datagrams, not counting STUN
}

// listener returns Config.ListenPacket for a host with one IPv4 address.
func (w *wire) listener(host netip.Addr) listenFunc {
	return func(_ context.Context, network, addr string) (net.PacketConn, error) {
		if network != "udp4" {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.ErrInvalid}
		}
		port, err := strconv.Atoi(strings.TrimPrefix(addr, ":"))
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if port == 0 {
			port = 40000 + len(w.sockets)
		}
		s := &wireSocket{wire: w, addr: netip.AddrPortFrom(host, uint16(port)), in: make(chan datagram, 256), closed: make(chan struct{})}
		s.deadline = make(chan struct{})
		if w.sockets == nil {
			w.sockets = make(map[netip.AddrPort]*wireSocket)
		}
		w.sockets[s.addr] = s
		return s, nil
	}
}

// cut takes a host off the wire, or puts it back.
func (w *wire) cut(host netip.Addr, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off == nil {
		w.off = make(map[netip.Addr]bool)
	}
	w.off[host] = off
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

func (w *wire) send(from, to netip.AddrPort, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if tx, err := stun.ParseRequest(data); err == nil {
		if !w.off[from.Addr()] {
			w.sockets[from].in <- datagram{to, stun.AppendResponse(nil, tx, from)}
		}
		return
	}
	w.sent++
	s := w.sockets[to]
	if s == nil || w.off[from.Addr()] || w.off[to.Addr()] {
		return
	}
	select {
	case s.in <- datagram{from, slices.Clone(data)}:
	default:
	}
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

type wireSocket struct {
	wire   *wire
	addr   netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline chan struct{} // closed when it has passed
	alarm    *time.Timer   // closes it
}

func (s *wireSocket) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	s.mu.Lock()
	deadline := s.deadline
	s.mu.Unlock()
	select {
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case <-deadline:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	case d := <-s.in:
		return copy(p, d.data), d.from, nil
	}
}

func (s *wireSocket) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	s.wire.send(s.addr, to, p)
	return len(p), nil
}

func (s *wireSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromUDPAddrPort(p)
	return n, net.UDPAddrFromAddrPort(from), err
}

func (s *wireSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	return s.WriteToUDPAddrPort(p, to.(*net.UDPAddr).AddrPort())
}

func (s *wireSocket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *wireSocket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm != nil {
		s.alarm.Stop()
	}
	select {
	case <-s.deadline:
		s.deadline = make(chan struct{})
	default: // who waits already waits for the new one
	}
	s.alarm = nil
	passed := s.deadline
	switch {
	case t.IsZero():
	case !t.After(time.Now()):
		close(passed)
	default:
		s.alarm = time.AfterFunc(time.Until(t), func() { close(passed) })
	}
	return nil
}

func (s *wireSocket) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(s.addr) }
func (s *wireSocket) SetDeadline(time.Time) error      { return os.ErrInvalid }
func (s *wireSocket) SetWriteDeadline(time.Time) error { return os.ErrInvalid }
