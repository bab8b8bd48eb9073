package netstack

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	// MaxStrays bounds the strays and the connections that came of them.
	MaxStrays = 4096
	// maxStraysOf bounds those of one source address, so that one peer alone
	// does not keep others out.
	maxStraysOf = MaxStrays / 4

	strayQueue = 256 // strays that wait for AcceptStray
)

// The networks of strays.
const (
	NetworkTCP  = "tcp"
	NetworkUDP  = "udp"
	NetworkPing = "ping"
)

// A Stray is what a peer begins where nobody listens: a TCP connection, a flow
// of UDP datagrams, or an echo request to an address that is not ours. Whoever
// gets one must call Accept or Reject, from any goroutine.
type Stray struct {
	Network  string         // NetworkTCP, NetworkUDP or NetworkPing
	Src, Dst netip.AddrPort // the ports of an echo request are 0
	Own      bool           // Dst is an address of ours

	request request
	place   *place
	settled atomic.Bool
}

// A request is a stray by its network. Each of the methods is called once at
// most.
type request interface {
	accept() (net.Conn, error)
	reject()
}

// Accept says that there is somebody at Dst. It returns a connection from there
// to Src, which the caller closes; of UDP it has the first datagram already. To
// make a TCP connection takes as long as the peer lets it, about a minute at
// most. An echo request is answered, and the connection is nil.
func (s *Stray) Accept() (net.Conn, error) {
	if s.settled.Swap(true) {
		return nil, net.ErrClosed
	}
	c, err := s.request.accept()
	if err != nil || c == nil {
		s.place.release()
		return nil, err
	}
	return c, nil
}

// Reject says that there is nobody: a peer who wanted a connection is told so,
// and one who pings gets no answer. After Accept it does nothing.
func (s *Stray) Reject() {
	if s.settled.Swap(true) {
		return
	}
	s.request.reject()
	s.place.release()
}

// strays are what comes in that nobody listens for.
type strays struct {
	stack  *Stack
	queue  chan *Stray
	wanted [3]atomic.Bool // by kind

	mu       sync.Mutex
	places   int
	bySource map[netip.Addr]int
	waiting  map[stack.TransportEndpointID]bool // flows of UDP that nobody has accepted yet
}

func newStrays(s *Stack) *strays {
	return &strays{
		stack:    s,
		queue:    make(chan *Stray, strayQueue),
		bySource: make(map[netip.Addr]int),
		waiting:  make(map[stack.TransportEndpointID]bool),
	}
}

// of makes st the strays of ip, one of the stacks: of the one with our own
// addresses, or of the other.
func (st *strays) of(ip *stack.Stack, own bool) {
	connections := tcp.NewForwarder(ip, tcpBufferDefault, MaxStrays, func(r *tcp.ForwarderRequest) { st.handleSYN(r, own) })
	ip.SetTransportProtocolHandler(tcp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		return st.takeTCP(connections, id, pkt)
	})
	ip.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		return st.takeUDP(ip, own, id, pkt)
	})
}

// The kinds of strays, as indices.
const (
	kindTCP = iota
	kindUDP
	kindPing
)

// TakeStrays says which strays AcceptStray returns; to begin with there are
// none. Peers are told that nobody is there for the others, and echo requests
// have no answer.
func (s *Stack) TakeStrays(tcp, udp, ping bool) {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.deaf {
		return
	}
	s.takeStrays(tcp, udp, ping)
}

func (s *Stack) takeStrays(tcp, udp, ping bool) {
	s.strays.wanted[kindTCP].Store(tcp)
	s.strays.wanted[kindUDP].Store(udp)
	s.strays.wanted[kindPing].Store(ping)
}

// AcceptStray waits for the next stray. There are [MaxStrays] at once, those
// among them that were accepted and not closed yet; beyond that, what peers
// begin is dropped, and they may try again. After Close the error is
// net.ErrClosed.
func (s *Stack) AcceptStray() (*Stray, error) {
	select {
	case stray := <-s.strays.queue:
		return stray, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// offer queues a stray for AcceptStray. It reports false when there is no room,
// and then settles nothing.
func (st *strays) offer(s *Stray) bool {
	select {
	case st.queue <- s:
		return true
	default:
		return false
	}
}

// A place is the right to be one of MaxStrays.
type place struct {
	strays *strays
	source netip.Addr
	once   sync.Once
}

// claim returns nil when there is no place left for one more from source.
func (st *strays) claim(source netip.Addr) *place {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.full(source) {
		return nil
	}
	st.places++
	st.bySource[source]++
	return &place{strays: st, source: source}
}

// full reports whether there is no place. st.mu is held.
func (st *strays) full(source netip.Addr) bool {
	return st.places >= MaxStrays || st.bySource[source] >= maxStraysOf
}

func (p *place) release() {
	p.once.Do(func() {
		st := p.strays
		st.mu.Lock()
		defer st.mu.Unlock()
		st.places--
		if st.bySource[p.source]--; st.bySource[p.source] == 0 {
			delete(st.bySource, p.source)
		}
	})
}
