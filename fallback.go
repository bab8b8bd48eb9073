package meshnet

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/meshnet-go/meshnet/internal/netstack"
)

// A FallbackTCPHandler decides on a TCP connection that a peer begins from src
// to dst, where nobody listens: dst is an address of the node's, or of the
// routes that it advertises. It must not wait. When intercept is false others
// are asked. Otherwise the connection is handler's, which runs in a goroutine
// of its own and must close it; with a nil handler it is refused.
//
// Only what the mesh's policy allows comes that far.
type FallbackTCPHandler func(src, dst netip.AddrPort) (handler func(net.Conn), intercept bool)

// A FallbackUDPHandler is a [FallbackTCPHandler] for the first datagram that
// comes from src to dst. The handler's connection has that datagram, and later
// ones from src to dst; what is written to it leaves from dst. It does not end
// by itself, as there is nothing in UDP to tell: a handler sets read deadlines.
type FallbackUDPHandler func(src, dst netip.AddrPort) (handler func(net.Conn), intercept bool)

// RegisterFallbackTCPHandler adds a handler for TCP connections that no
// listener takes. It may be called at any time and, as with tsnet, more than
// once: the handlers are asked in the order of their registration, and then
// [Server.Router]. Up to 4,096 connections and flows are open at once, of them
// 1,024 from one source address; beyond that new ones wait for a place, as long
// as the peer goes on trying.
func (s *Server) RegisterFallbackTCPHandler(h FallbackTCPHandler) (deregister func()) {
	return s.register(netstack.NetworkTCP, h)
}

// RegisterFallbackUDPHandler adds a handler for UDP datagrams to ports where
// nobody listens. See [Server.RegisterFallbackTCPHandler].
func (s *Server) RegisterFallbackUDPHandler(h FallbackUDPHandler) (deregister func()) {
	return s.register(netstack.NetworkUDP, h)
}

func (s *Server) register(network string, decide func(src, dst netip.AddrPort) (func(net.Conn), bool)) (deregister func()) {
	f := &fallback{network, decide}
	s.fallbacks.change(func(all []*fallback) []*fallback { return append(all, f) })
	if n := s.running(); n != nil {
		n.passage.update()
	}
	return func() {
		s.fallbacks.change(func(all []*fallback) []*fallback {
			return slices.DeleteFunc(all, func(other *fallback) bool { return other == f })
		})
		if n := s.running(); n != nil {
			n.passage.update()
		}
	}
}

// A fallback is a handler of one network.
type fallback struct {
	network string
	decide  func(src, dst netip.AddrPort) (handler func(net.Conn), intercept bool)
}

// fallbacks are a Server's handlers, before and after its start.
type fallbacks struct {
	mu  sync.Mutex
	all []*fallback // in order of registration; not changed in place
}

func (f *fallbacks) change(edit func([]*fallback) []*fallback) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = edit(slices.Clone(f.all))
}

func (f *fallbacks) list() []*fallback {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

// has reports whether there is a handler of a network.
func (f *fallbacks) has(network string) bool {
	return slices.ContainsFunc(f.list(), func(h *fallback) bool { return h.network == network })
}

// decide asks the handlers.
func (f *fallbacks) decide(network string, src, dst netip.AddrPort) (handler func(net.Conn), intercept bool) {
	for _, h := range f.list() {
		if h.network != network {
			continue
		}
		if handler, intercept = h.decide(src, dst); intercept {
			return handler, true
		}
	}
	return nil, false
}
