// Package netstack is a TCP/IP stack inside the process, gVisor's, with the
// outside of a TUN device: what programs send through its connections comes
// out of Tun().Read as IP packets, and IP packets given to Tun().Write arrive
// at its connections. It is the only package that imports gVisor.
//
//	net.Conn, net.Listener, net.PacketConn     tcp.go, udp.go over socket.go
//	gVisor: TCP, UDP, ICMP, IPv4, IPv6
//	link: one bounded queue of packets out     link.go
//	tun.Device: cuts and joins packets         tun.go, cut.go, fragment.go, join.go
//	path MTUs                                  mtus.go
//	what nobody listens for                    stray.go, transit.go
//
// Connections and errors are what users of package net know: *net.TCPAddr,
// *net.OpError, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNREFUSED.
package netstack

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	defaultMTU = 1280
	minMTU     = 1280 // what IPv6 demands of a link (RFC 8200, section 5)
	maxMTU     = 65535

	nicID = 1 // the stack has one network interface

	// TCP buffers start small, so that idle connections cost little, and grow
	// with the connection. gVisor fills a send buffer whether the path needs it or
	// not, so that its limit is what a bulk transfer takes; both are the kernel's:
	// over 60 ms they are good for 500 Mbit/s. On short paths all connections that
	// write share what one may have, as more only leaves the processor's caches:
	// eight were slower than one, with 100 MiB more.
	tcpBufferMin     = 4 << 10
	tcpBufferDefault = 512 << 10
	tcpSendMax       = 4 << 20
	tcpReceiveMax    = 8 << 20
	tcpSendShare     = 256 << 10 // and no less
)

// Config is what New wants to know.
type Config struct {
	MTU    int          // largest IP packet in bytes, but for SetMTUs; 1280 when 0
	Logger *slog.Logger // silent when nil
	// Transit makes strays of what comes for addresses that are not ours: see
	// AcceptStray. Without it, that is dropped.
	Transit bool
}

// A Stack is a host with one network interface: a TUN device that somebody
// else reads from and writes to.
type Stack struct {
	ip   *stack.Stack
	link *link
	tun  *device
	log  *slog.Logger
	done chan struct{} // closed by HangUp
	hang sync.Once     // HangUp
	stop sync.Once     // Close

	writers atomic.Int64 // connections whose Write waits for room
	waiters sync.Pool    // of *waiting

	setting sync.Mutex // one SetAddrs at a time
	addrs   atomic.Pointer[[]netip.Addr]

	strays *strays

	listening sync.Mutex
	listeners map[*tcpListener]binding // of TCP; guarded by listening
	deaf      bool                     // there shall be no more of them; guarded by listening

	open openConns
}

// New returns a running stack without addresses; see SetAddrs. The caller owns
// it and closes it.
func New(cfg Config) (*Stack, error) {
	if cfg.MTU == 0 {
		cfg.MTU = defaultMTU
	}
	if cfg.MTU < minMTU || cfg.MTU > maxMTU {
		return nil, fmt.Errorf("netstack: MTU %d is not within %d and %d", cfg.MTU, minMTU, maxMTU)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	quiet()
	link := newLink(cfg.MTU)
	ip, err := newIP(link, true, cfg.MTU)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		ip:   ip,
		link: link,
		tun:  newDevice(link),
		log:  cfg.Logger,
		done: make(chan struct{}),

		waiters: sync.Pool{New: newWaiting},

		listeners: make(map[*tcpListener]binding),

		open: openConns{endpoints: make(map[tcpip.Endpoint]bool)},
	}
	s.addrs.Store(&[]netip.Addr{})
	s.strays = newStrays(s)
	s.strays.of(ip, true)
	if !cfg.Transit {
		return s, nil
	}
	if s.tun.transit, err = newTransit(s, cfg.MTU); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newIP returns gVisor's stack on a link, without addresses. With handleLocal it
// can dial itself.
//
// TCP shall hold its pace where packets are lost, as they are in every busy relay.
// gVisor's RACK does not: on 32 MiB through a queue of 32 packets it waited for 88
// timeouts, and SACK alone for none (google/gvisor#6113).
func newIP(link endpoint, handleLocal bool, mtu int) (*stack.Stack, error) {
	ip := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		HandleLocal:        handleLocal,
	})
	fail := func(what string, err tcpip.Error) (*stack.Stack, error) {
		ip.Close()
		ip.Wait()
		return nil, fmt.Errorf("netstack: %s: %s", what, err)
	}
	control := congestionControl(false)
	rack := tcpip.TCPRecovery(0) // off
	sack := tcpip.TCPSACKEnabled(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpReceiveMax}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpSendMax}
	for _, option := range []tcpip.SettableTransportProtocolOption{&control, &rack, &sack, &receive, &send} {
		if err := ip.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fail(fmt.Sprintf("setting %T", option), err)
		}
	}
	if err := ip.CreateNICWithOptions(nicID, link, stack.NICOptions{QDisc: link}); err != nil {
		return fail("making the network interface", err)
	}
	ip.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID, MTU: uint32(mtu)},
		{Destination: header.IPv6EmptySubnet, NIC: nicID, MTU: uint32(mtu)},
	})
	return ip, nil
}

// congestionControl returns what suits a path. Over short queues gVisor's CUBIC waits
// for some timeouts, and Reno for none; but where a round trip is long, Reno needs
// minutes to get over one lost packet.
func congestionControl(long bool) tcpip.CongestionControlOption {
	if long {
		return "cubic"
	}
	return "reno"
}

// Tun returns the device through which the stack's packets leave and arrive.
func (s *Stack) Tun() tun.Device { return s.tun }

// Inject queues an IP packet of the caller's making to leave through the device
// as it is. It is dropped when the queue is full.
func (s *Stack) Inject(packet []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	defer pkt.DecRef()
	s.link.WritePacket(pkt)
}

// SetAddrs replaces the stack's addresses. Connections on addresses that stay
// live on; those on an address that goes can no longer send.
func (s *Stack) SetAddrs(addrs []netip.Addr) error {
	s.setting.Lock()
	defer s.setting.Unlock()

	want := make([]netip.Addr, 0, len(addrs))
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
			return fmt.Errorf("netstack: %v cannot be an address of ours", addr)
		}
		if !slices.Contains(want, addr) {
			want = append(want, addr)
		}
	}
	have := *s.addrs.Load()
	for _, addr := range want {
		if slices.Contains(have, addr) {
			continue
		}
		protocol := tcpip.ProtocolAddress{
			Protocol:          familyOf(addr),
			AddressWithPrefix: toTCPIP(addr).WithPrefix(),
		}
		if err := s.ip.AddProtocolAddress(nicID, protocol, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("netstack: adding address %v: %s", addr, err)
		}
	}
	for _, addr := range have {
		if slices.Contains(want, addr) {
			continue
		}
		if err := s.ip.RemoveAddress(nicID, toTCPIP(addr)); err != nil {
			return fmt.Errorf("netstack: removing address %v: %s", addr, err)
		}
	}
	s.addrs.Store(&want)
	s.log.Debug("addresses set", "addrs", want)
	return nil
}

// Close ends every connection and listener, whose users get net.ErrClosed, and
// the device. Peers hear of it if somebody reads the device to its end; see
// HangUp. Close waits for the stack's goroutines and may be called more than
// once.
func (s *Stack) Close() error {
	s.stop.Do(func() {
		s.HangUp()
		s.tun.Close()
		s.ip.Wait()
		s.tun.transit.wait()
	})
	return nil
}
